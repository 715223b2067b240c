internal import FleetProtocol
internal import FleetSystem

/// All that carrying out a plan needs, so that an agent which finds nothing but the journal can go on with it.
struct RestoreWork: Codable, Sendable, Equatable {
    /// How etcd is stopped, switched and started.
    enum Launch: Codable, Sendable, Equatable {
        /// - manifestDirectory: what the kubelet watches.
        /// - dataPath: `--data-dir` as the container sees it.
        case staticPod(manifest: String, manifestDirectory: String, dataPath: String)
        /// - reload: a unit file or drop-in changes.
        case unit(name: String, reload: Bool)
    }

    /// A directory that is made beside an old one, or in it where that is a file system of its own, and takes its owner, mode
    /// and label.
    struct NewDirectory: Codable, Sendable, Equatable {
        var old: String
        var new: String

        /// What is not of the new data has to be told apart by its name then.
        var isInside: Bool { remainder(of: new, below: old).map { !$0.isEmpty } ?? false }
    }

    struct Owner: Codable, Sendable, Equatable {
        var user: UInt32
        var group: UInt32
    }

    var plan: RestorePlan
    /// Of a member that joins a live cluster only the size counts: of what the others send it.
    var snapshot: SnapshotRecord
    var job: String
    var expires: Timestamp
    var waitSeconds: Int
    var instance: EtcdInstance
    var launch: Launch
    var controlPlane: [ControlPlaneManifest]
    /// The roots of what is made: a volume's path or the data-dir itself, then a separate WAL directory.
    var directories: [NewDirectory]
    /// Of new directories whose old one is gone.
    var owner: Owner
    /// etcd was healthy when the restore was begun: then it has to be again after a rollback.
    var wasHealthy: Bool
    /// Whether the unit ran, or systemd would have started it again, when the restore was begun: what somebody had stopped
    /// stays stopped on the way back. nil: a static pod, whose manifest was in its place; a journal of before;
    /// or systemd could not tell.
    var wasRunning: Bool?
    /// Whether the old directory held a member's data when the restore was begun. nil: a journal of before.
    var hadOldData: Bool?
    /// Outside the manifests directory, on its file system: manifests that are away, files before they are renamed.
    var holdingDirectory: String
    /// All members that are restored together; nil for a cluster of one.
    var group: RestoreGroup?
    var memberID: UInt64
    var clusterID: UInt64
    /// The steps in order. A static pod alone is replaced rather than stopped; a control plane is only where its manifests
    /// are.
    var steps: [RestoreStep]
    /// This node's job of the restore that is undone; nil for a restore. Then the "new" directories are the old ones of that
    /// restore, which nothing here ever removes.
    var undoes: String?
    /// The id of the snapshot that this node saves first.
    var safety: String?
    /// nil: revisions stay the snapshot's.
    var bump: RevisionBump?
    /// The node's member joins a live cluster with an empty directory; nil for all else.
    var joins: Bool?
    /// What is kept of before, for people and for a cleanup.
    var keptData: [String] { Self.keptData(directories, plan) }

    static func keptData(_ directories: [NewDirectory], _ plan: RestorePlan) -> [String] {
        directories.flatMap { directory in
            oldParts(of: directory, directories, plan).map { part in
                switch part {
                case .directory(let path): path
                case .segments(let wal): "\(wal)/*.wal"
                }
            }
        }
    }

    enum OldPart: Equatable {
        /// With all that is in it.
        case directory(String)
        /// The files of a log, of those in this directory.
        case segments(in: String)
    }

    /// What of an old directory is old data: all of it, or where something new is in it, only what etcd itself had made there.
    static func oldParts(of directory: NewDirectory, _ directories: [NewDirectory], _ plan: RestorePlan) -> [OldPart] {
        func isBelow(_ path: String, _ root: String) -> Bool { remainder(of: path, below: root) != nil }
        let holdsNew = directories.contains { isBelow($0.new, directory.old) && $0.new != directory.old }
        guard holdsNew else { return [.directory(directory.old)] }
        // A log that is mounted in the data directory has an entry of its own.
        func isOfThis(_ path: String) -> Bool {
            let roots = directories.map(\.old).filter { isBelow(path, $0) }
            return roots.max { $0.utf8.count < $1.utf8.count } == directory.old
        }
        let member = plan.oldDataDir + "/member"
        var parts: [OldPart] = isOfThis(plan.oldDataDir) ? [.directory(member)] : []
        if let wal = plan.oldWalDir, isOfThis(wal), !isBelow(wal, member) { parts.append(.segments(in: wal)) }
        return parts
    }
    /// What the restored etcd begins at.
    var revision: Int64 { bump?.target ?? snapshot.newestRevision }

    /// Of a cluster of several: healthy only with the others, and off until it is told to start.
    var isMember: Bool { group != nil || joins == true }
    var memberIDs: [UInt64] { group?.memberIDs ?? [memberID] }
    var initialCluster: String {
        group?.initialCluster ?? instance.peerURLs.map { "\(instance.name)=\($0)" }.joined(separator: ",")
    }
}

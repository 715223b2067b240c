internal import FleetProtocol
internal import FleetSystem

/// The node's own part of a replacement, with a restore's means. Every step can be done again from any state that a crash
/// may leave; all of it blocks.
extension RestoreSteps {
    /// Tries all that can fail before anything is touched.
    ///
    /// - Returns: for people.
    func checkJoin(_ joining: FleetProtocol.Operation.Joining) throws(FleetError) -> [String] {
        let certificates = try CertificateCheck.expiries(work.instance, now: .now())
        _ = try client()
        if let own = work.instance.version.flatMap({ EtcdVersion($0) }), let cluster = EtcdVersion(joining.etcdVersion),
            !own.isSameMinorOrNewer(than: cluster)
        {
            throw FleetError(
                .etcdTooOld, "this node has etcd \(own), the cluster runs etcd \(cluster)",
                hint: "install etcd \(cluster.major).\(cluster.minor) on this node, then replace the member again")
        }
        try checkSpace()
        try checkHoldingDirectory()
        let version = EtcdVersion(joining.etcdVersion)
        return CertificateCheck.warnings(certificates, now: .now())
            + (version.flatMap(KnownProblems.promotion).map { [$0] } ?? [])
    }

    /// Empty, and as the old one for the rest. What another id has left there is a former try of the same replacement.
    func makeJoinDirectory(for member: UInt64) throws(FleetError) {
        let identity = OldIdentity.read(dataDir: work.plan.newDataDir, walDir: work.plan.newWalDir)
        if let identity, identity.member != member { try removeNewData() }
        try FileSystem.makeDirectories(work.plan.newDataDir)
        // etcd makes its log's directory itself, and will have none that is there.
        if let wal = work.plan.newWalDir { try FileSystem.makeDirectories(FileSystem.parent(of: wal)) }
        guard identity?.member != member else { return }
        for directory in work.directories where FileSystem.exists(directory.new) {
            try Inheritance.carryOver(directory, fallback: work.owner)
        }
        try FileSystem.syncDirectory(FileSystem.parent(of: work.plan.newDataDir))
    }

    /// etcd runs on the new directory and says that it is that member; it may still have to catch up.
    func startJoined(_ member: UInt64) throws(FleetError) -> String? {
        let note = try startNewEtcd()
        let client = try client()
        var last: FleetError?
        let isThere = try Waiting.until(work.waitSeconds) { () throws(FleetError) in
            do throws(FleetError) { return try client.status().memberID == member } catch {
                last = error
                return false
            }
        }
        guard isThere else {
            throw FleetError(
                .notStarted,
                "etcd on \(work.plan.newDataDir) did not join as \(MemberView.hex(member)) within \(work.waitSeconds) s"
                    + (last.map { ": \($0.message)" } ?? ""),
                hint: "see its log (\(isUnit ? "journalctl -u \(work.unitName)" : "crictl logs"))")
        }
        return note
    }

    /// Whether etcd is that member already: an act that was cut off behind its last step.
    func isJoined(_ member: UInt64) -> Bool {
        guard let process = try? newEtcd(), process.openDataDir != nil else { return false }
        return (try? client().status().memberID) == member
    }

    private var isUnit: Bool { if case .unit = work.launch { true } else { false } }
}

import FleetCrypto
public import FleetSystem

/// Snapshots of etcd, deduplicated by page, compressed against what they resemble, sealed. See FORMAT.md.
///
/// One process writes to a repository at a time, which its owner sees to; in that process any number of uploads, readers
/// and upkeep go on at once. Everything blocks; call it off the cooperative pool.
public final class Repository: Sendable {
    let core: RepositoryCore
    let holds = PackHolds()
    /// Held by whatever makes snapshot files appear, change or go, and by what decides on that ground.
    let publishing = Monitor<[String: SnapshotHead]>([:])

    /// Packs that an upload shared which could not be read back, since this object was made. What depends on them is no
    /// longer built upon, so that the next upload is whole whatever has become of them.
    let distrusted = Monitor<Set<PackID>>([])

    static let configLimit = 1 << 20
    private static func configPath(_ root: String) -> String { "\(root)/config" }

    /// Makes a repository that `master` opens, and one more key that does, for the paper in the safe.
    ///
    /// - Throws: `already-exists`; `not-found` where only the `config` of one is missing.
    public static func create(
        _ root: String, files: any RepositoryFiles = SystemRepositoryFiles(), master: RepositoryKey
    ) throws(FleetError) -> RepositoryKey {
        for name in ["packs", "snapshots", "incoming"] { try files.makeDirectories("\(root)/\(name)") }
        try checkVacant(root, files: files)
        let recovery = RepositoryKey.random(.recovery)
        let config = try RepositoryConfig.create(for: [master, recovery])
        try files.writeDurably(configPath(root), try config.encoded())
        return recovery
    }

    /// Whether a repository can be made there: what is stored can be read with the data keys in its own `config` alone, so
    /// another must not take its place.
    ///
    /// - Throws: `already-exists`; `not-found` where only the `config` of one is missing.
    public static func checkVacant(
        _ root: String, files: any RepositoryFiles = SystemRepositoryFiles()
    ) throws(FleetError) {
        guard try files.size(configPath(root)) == nil else {
            throw FleetError(.alreadyExists, "\(root) is a repository already", hint: "open it, or name another place")
        }
        for directory in ["\(root)/snapshots", "\(root)/packs"] {
            var names: [String] = []
            do throws(FleetError) { names = try files.list(directory) } catch {
                guard error.code == .notFound else { throw error }
            }
            guard names.allSatisfy({ $0.hasPrefix(".") }) else {
                throw FleetError(
                    .notFound, "\(configPath(root)) is not there, but what it opens is: \(directory) is not empty",
                    hint: "put config back from the copy that the rest comes from, or name another place")
            }
        }
    }

    /// - Throws: `not-found` where there is no repository, `wrong-key`, `snapshot-damaged`.
    public init(
        _ root: String, files: any RepositoryFiles = SystemRepositoryFiles(), key: RepositoryKey
    ) throws(FleetError) {
        core = RepositoryCore(root: root, files: files, keys: try Self.config(root, files).dataKeys(key))
    }

    init(_ core: RepositoryCore) { self.core = core }

    static func config(_ root: String, _ files: any RepositoryFiles) throws(FleetError) -> RepositoryConfig {
        let path = configPath(root)
        do throws(FleetError) {
            return try RepositoryConfig.decode(try files.read(path, limit: configLimit))
        } catch { throw error.during(path) }
    }

    /// Wraps the data keys for another key of that role; the former key of the role opens nothing any more.
    public func replaceKey(_ role: RepositoryKey.Role, with key: RepositoryKey) throws(FleetError) {
        let config = try Self.config(core.root, core.files).replacing(role, with: key, core.keys)
        try core.files.writeDurably(Self.configPath(core.root), try config.encoded())
    }

    /// Wraps the data keys for one more key.
    public func addKey(_ key: RepositoryKey) throws(FleetError) {
        let config = try Self.config(core.root, core.files).adding(key, core.keys)
        try core.files.writeDurably(Self.configPath(core.root), try config.encoded())
    }

    /// Makes a new data key, with which everything is sealed that is written from now on; what is there stays as it is,
    /// and is read with the former ones. `master` and the key that this returns open the repository, and no others: the
    /// former recovery key is on paper, so the new data key can't be wrapped for it.
    ///
    /// This object goes on with the former keys: open the repository anew.
    public func replaceDataKey(master: RepositoryKey) throws(FleetError) -> RepositoryKey {
        let recovery = RepositoryKey.random(.recovery)
        let config = try Self.config(core.root, core.files).replacing(
            all: [master, recovery], try core.keys.addingOne())
        try core.files.writeDurably(Self.configPath(core.root), try config.encoded())
        return recovery
    }

    /// Names become file names: only what is harmless as one, and not a temporary file's.
    static func check(_ name: String) throws(FleetError) {
        let isFine =
            (1...128).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: ".")
            && name.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "/") }
        guard isFine else {
            throw FleetError(.malformed, "\(String(name.prefix(80)).debugDescription) can't be a name in a repository")
        }
    }

    // MARK: snapshots

    public struct Listing: Sendable {
        public var heads: [SnapshotHead] = []
        public var problems: [(id: String, error: FleetError)] = []
    }

    public func ids() throws(FleetError) -> [String] {
        try core.files.list("\(core.root)/snapshots").filter { !$0.hasPrefix(".") }
    }

    /// All snapshots by id. One that can't be read, or lacks a pack, is a problem of its own and hides no other.
    public func list() throws(FleetError) -> Listing {
        var listing = Listing()
        var lengths: [PackID: Int64] = [:]
        for name in try core.files.list("\(core.root)/packs") {
            guard let id = PackID(fileName: name) else { continue }
            lengths[id] = try core.files.size("\(core.root)/packs/\(name)")
        }
        for id in try ids() {
            do throws(FleetError) {
                let head = try head(id)
                if let problem = Self.problem(head, lengths) {
                    listing.problems.append((id, problem))
                } else {
                    listing.heads.append(head)
                }
            } catch { listing.problems.append((id, error)) }
        }
        return listing
    }

    /// What the names and lengths of the packs alone tell.
    static func problem(_ head: SnapshotHead, _ lengths: [PackID: Int64]) -> FleetError? {
        for pack in head.packs {
            guard let length = lengths[pack.id] else {
                return FleetError(
                    .notFound, "pack \(pack.id) of snapshot \(head.id) is not there",
                    hint: "put it back from a copy of the repository, or delete the snapshot")
            }
            if length != pack.length {
                return damaged("pack \(pack.id) of snapshot \(head.id) has \(length) bytes instead of \(pack.length)")
            }
        }
        return nil
    }

    /// - Throws: `not-found`, `snapshot-damaged`.
    public func head(_ id: String) throws(FleetError) -> SnapshotHead {
        try Self.check(id)
        return try SnapshotFile.head(id, core)
    }

    public func open(_ id: String) throws(FleetError) -> RepositorySnapshot {
        try Self.check(id)
        // Under the lock: between reading the map and holding its packs nothing may be collected.
        return try publishing.attempt { _ throws(FleetError) in
            let snapshot = try ResolvedSnapshot(id, core)
            if let problem = try problem(snapshot.head) { throw problem }
            return RepositorySnapshot(snapshot, core, hold: holds.hold(snapshot.head.packs.map(\.id)))
        }
    }

    func problem(_ head: SnapshotHead) throws(FleetError) -> FleetError? {
        var lengths: [PackID: Int64] = [:]
        for pack in head.packs { lengths[pack.id] = try core.files.size(core.path(pack.id)) }
        return Self.problem(head, lengths)
    }

    public func freeSpace() throws(FleetError) -> Int64 { try core.files.freeSpace(core.root) }
}

extension Repository {
    /// Where the file of a snapshot is, if there is one.
    public func path(_ id: String) -> String { core.snapshotPath(id) }

    /// Paths of the packs that a snapshot needs.
    public func packPaths(_ head: SnapshotHead) -> [String] { head.packs.map { core.path($0.id) } }
}

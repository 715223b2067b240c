import FleetRepository
import FleetSystem

/// The coordinator's directory and what lies where in it. All of it belongs to one user and is closed to others.
///
///     settings.json   where it listens and is found
///     keys/           the authority, the job-signing key, and the key that opens the store
///     catalogue.db    inventory and history
///     store/          the snapshots: an encrypted repository
///     lock            held by the process that serves
struct DataDirectory: Sendable {
    let path: String

    var keys: String { path + "/keys" }
    var catalogue: String { path + "/catalogue.db" }
    var store: String { path + "/store" }
    private var settingsFile: String { path + "/settings.json" }

    struct Settings: Codable, Sendable, Equatable {
        /// "host:port" in every token: where agents and operators find the coordinator.
        var advertise: String
        /// "host:port", "*:port" for every address.
        var listen: String
    }

    /// Makes the directory, with keys and settings; the settings come last, so a directory that has them is complete.
    ///
    /// Keys that are there already are kept (`KeyRing.create`), and a repository that they open.
    ///
    /// - Returns: whether there were keys, and the recovery key of a new repository, which is kept nowhere.
    /// - Throws: `already-exists` for one that is set up: its keys are what every agent has pinned.
    @discardableResult
    func create(_ settings: Settings) throws(FleetError) -> (hadKeys: Bool, recovery: RepositoryKey?) {
        guard !FileSystem.exists(settingsFile), !FileSystem.exists(catalogue) else {
            throw FleetError(
                .alreadyExists, "\(path) is set up already",
                hint: "serve from it, or name another directory with --data; its keys can't be made again")
        }
        try FileSystem.makeDirectories(path)
        let lock = try self.lock()
        let hadKeys = try KeyRing.create(in: keys)
        let recovery = try createRepository()
        try FileSystem.writeDurably(settingsFile, try JSON.encode(settings, pretty: true))
        _ = consume lock
        return (hadKeys, recovery)
    }

    /// - Throws: `not-found` where `init` never ran.
    func settings() throws(FleetError) -> Settings {
        guard FileSystem.exists(settingsFile) else {
            throw FleetError(
                .notFound, "\(path) is no coordinator's directory",
                hint:
                    "run 'fleet-coordinator init --advertise HOST:PORT' first, as the same user, or name the right one with --data"
            )
        }
        do throws(FleetError) { return try JSON.decode(Settings.self, from: try FileSystem.read(settingsFile)) } catch {
            throw error.during(settingsFile)
        }
    }

    /// Two coordinators on one directory would each sign jobs the other does not know of.
    func lock() throws(FleetError) -> FileLock {
        try FileLock(path + "/lock", hint: "a coordinator runs on this directory already; stop it first")
    }
}

import FleetRepository
import FleetSystem
import Glibc

/// The coordinator's directory and what lies where in it. All of it belongs to one user and is closed to others.
///
///     settings.json   where it listens and is found
///     keys/           the authority, the job-signing key, and the key that opens the store
///     catalogue.db    inventory and history
///     store/          the snapshots: an encrypted repository
///     programs/       agents' programs, while nodes are upgraded to them
///     lock            held by the process that serves
struct DataDirectory: Sendable {
    let path: String

    var keys: String { path + "/keys" }
    var catalogue: String { path + "/catalogue.db" }
    var store: String { path + "/store" }
    var programs: String { path + "/programs" }
    private var settingsFile: String { path + "/settings.json" }

    struct Settings: Codable, Sendable, Equatable {
        /// "host:port" in every token: where agents and operators find the coordinator.
        var advertise: String
        /// "host:port", "*:port" for every address.
        var listen: String
        /// "host:port" where metrics are read, without a certificate; nil: nowhere.
        var metrics: String?
        /// Seconds that a certificate of an agent or operator is good; nil: a year.
        var certificateLifetime: Int?
    }

    /// Makes the directory, with keys and settings; the settings come last, so a directory that has them is complete.
    ///
    /// Keys that are there already are kept (`KeyRing.create`), and a repository that they open.
    ///
    /// - Returns: whether there were keys, and the recovery key of a new repository, which is kept nowhere.
    /// - Throws: `already-exists` for one that is set up: its keys are what every agent has pinned.
    @discardableResult
    func create(_ settings: Settings) throws(FleetError) -> (hadKeys: Bool, recovery: RepositoryKey?) {
        // A catalogue alone is one that was put back from a copy: it is kept, as keys and store are.
        guard !FileSystem.exists(settingsFile) else {
            throw FleetError(
                .alreadyExists, "\(path) is set up already",
                hint: "serve from it, or name another directory with --data; its keys can't be made again")
        }
        try checkOwner()
        try FileSystem.makeDirectories(path)
        let lock = try self.lock()
        // First, so that where the store's key is missing no new authority is made that a second run would find.
        try FileSystem.makeDirectories(keys)
        let recovery = try createRepository()
        let hadKeys = try KeyRing.create(in: keys)
        try write(settings)
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

    func write(_ settings: Settings) throws(FleetError) {
        try FileSystem.writeDurably(settingsFile, try JSON.encode(settings, pretty: true))
    }

    /// What root writes here the service could not read: it runs as whom the directory belongs to.
    ///
    /// - Throws: `usage` for root in another's directory.
    func checkOwner() throws(FleetError) {
        guard geteuid() == 0, let owner = try FileSystem.status(path)?.owner, owner != 0 else { return }
        throw FleetError(
            .usage, "\(path) belongs to the user that the service runs as, and this is root",
            hint: "run the same as that user: runuser -u fleet-coordinator -- fleet-coordinator ...; what root has put "
                + "there goes over with: chown -R fleet-coordinator: \(path)")
    }

    /// Two coordinators on one directory would each sign jobs the other does not know of.
    func lock() throws(FleetError) -> FileLock {
        try FileLock(path + "/lock", hint: "a coordinator runs on this directory already; stop it first")
    }
}

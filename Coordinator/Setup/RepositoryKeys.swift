import FleetRepository
import FleetSystem

/// The master key's file, and the repository that it opens.
extension DataDirectory {
    var repositoryKey: String { keys + "/repository.key" }

    /// Makes the master key and the repository, unless they are there: copies that somebody put back, or what an `init`
    /// that was killed left.
    ///
    /// - Returns: the recovery key, which is kept nowhere; nil for a repository that has snapshots: its own stays.
    func createRepository() throws(FleetError) -> RepositoryKey? {
        let hasKey = FileSystem.exists(repositoryKey)
        guard FileSystem.exists(store + "/config") else {
            // Before there is a key that opens nothing.
            try Repository.checkVacant(store)
            let master = hasKey ? try masterKey() : RepositoryKey.random(.master)
            if !hasKey { try FileSystem.writeDurably(repositoryKey, "\(master.text)\n".utf8) }
            return try Repository.create(store, master: master)
        }
        let repository = try Repository(store, key: try masterKey())
        guard try repository.ids().isEmpty else { return nil }
        // Its recovery key may have been printed nowhere.
        let recovery = RepositoryKey.random(.recovery)
        try repository.replaceKey(.recovery, with: recovery)
        return recovery
    }

    /// - Throws: `not-found`, `permission-denied` for a key that others may read, `malformed`.
    func masterKey() throws(FleetError) -> RepositoryKey {
        guard let status = try FileSystem.status(repositoryKey) else {
            throw FleetError(
                .notFound, "\(repositoryKey) is not there",
                hint: "put it back from a copy, or make a new one with 'fleet-coordinator rekey --recovery-key FILE'")
        }
        guard status.mode & 0o077 == 0 else {
            throw FleetError(
                .permissionDenied, "\(repositoryKey) can be read by others",
                hint: "chmod 600 \(repositoryKey), then replace it with 'fleet-coordinator rekey'")
        }
        return try Self.key(in: repositoryKey)
    }

    static func key(in path: String) throws(FleetError) -> RepositoryKey {
        let text = try FileSystem.readText(path, limit: 4096)
        do throws(FleetError) { return try RepositoryKey(text: text) } catch { throw error.during(path) }
    }

    /// - Throws: `not-found`, `wrong-key`, `snapshot-damaged`.
    func openStore(_ key: RepositoryKey? = nil) throws(FleetError) -> RepositoryStore {
        guard FileSystem.exists(store) else {
            throw FleetError(
                .notFound, "\(store) is not there", hint: "name the coordinator's directory with --data")
        }
        let key = if let key { key } else { try masterKey() }
        return RepositoryStore(try Repository(store, key: key))
    }

    /// Replaces the master key, opened by itself or by the recovery key. While this goes on both open the repository,
    /// so that a crash at any moment leaves a key file that does.
    func replaceMasterKey(openedBy former: RepositoryKey) throws(FleetError) {
        let repository = try Repository(store, key: former)
        try repository.replaceKey(.master, with: try writeNewMasterKey(repository))
    }

    /// Replaces the recovery key, opened by itself or by the master key. `show` gives the new one to somebody; the former
    /// opens the repository until that has succeeded. Where the recovery key had to open it, the key file is made anew
    /// first: what was shown may still be lost in a power cut, and something must open the repository then.
    func replaceRecoveryKey(
        openedBy former: RepositoryKey, show: (RepositoryKey) throws(FleetError) -> Void
    ) throws(FleetError) {
        if former.role == .recovery { try replaceMasterKey(openedBy: former) }
        let repository = try Repository(store, key: former)
        let new = RepositoryKey.random(.recovery)
        try repository.addKey(new)
        try show(new)
        try repository.replaceKey(.recovery, with: new)
    }

    /// Replaces all there is: the master key, the recovery key, and the data key of what is stored from now on. At any
    /// moment the key file opens the repository; the former recovery key does until the new one is returned.
    ///
    /// - Returns: the recovery key, which is kept nowhere.
    func replaceDataKey(openedBy former: RepositoryKey) throws(FleetError) -> RepositoryKey {
        let repository = try Repository(store, key: former)
        return try repository.replaceDataKey(master: try writeNewMasterKey(repository))
    }

    /// A key file that opens the repository, as the former one still does.
    private func writeNewMasterKey(_ repository: Repository) throws(FleetError) -> RepositoryKey {
        let new = RepositoryKey.random(.master)
        try FileSystem.makeDirectories(keys)
        try repository.addKey(new)
        try FileSystem.writeDurably(repositoryKey, "\(new.text)\n".utf8)
        return new
    }
}

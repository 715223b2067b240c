import FleetCommandLine
import FleetProtocol
import FleetReactor
import FleetRepository
import FleetSQLite
import FleetSystem

let restoreCommand = Command(
    "restore", "Make a lost coordinator again on an empty machine",
    discussion: """
        From the newest copy of itself that the coordinator has put into its store, or from a file of 'fleetctl coordinator
        backup': its settings, its keys and its catalogue, as they were then. Agents and operators know it without being
        visited; snapshots that were stored since are found at its start. Put the store where it belongs first (--data,
        default /var/lib/fleet-coordinator, has 'store' in it), and run this as the user that the service runs as.

        The former coordinator must never start again: agents would obey both. RECOVERY.md has this night and others step by
        step; the package has it as /usr/share/doc/fleet-coordinator/RECOVERY.md.gz (zless).
        """,
    options: [
        .init("file", value: "FILE", "from this file of 'fleetctl coordinator backup', not from the store"),
        .init(
            "recovery-key", value: "FILE",
            "open it with the recovery key in this file, where keys/repository.key is lost"),
        .init("advertise", value: "ADDRESS", "where agents find it, if that is another than before"),
        .init("listen", value: "ADDRESS", "where it listens, if that is another than before"),
        CoordinatorProgram.dataOption,
    ],
    examples: [
        .init(
            "fleet-coordinator restore --recovery-key recovery.txt",
            "store/ was put back from its copy on another machine"),
        .init(
            "fleet-coordinator restore --file fleet.copy --recovery-key recovery.txt",
            "from a file; the store may come later"),
    ]
) { call in
    let directory = CoordinatorProgram.directory(call)
    try directory.checkOwner()
    let advertise = try call.value("advertise").map { text throws(FleetError) in try Address(text, defaultPort: 7400) }
    let listen = try call.value("listen").map { text throws(FleetError) in try Address(text) }
    try FileSystem.makeDirectories(directory.path)
    let lock = try directory.lock()
    guard call.value("recovery-key") != nil || FileSystem.exists(directory.repositoryKey) else {
        throw FleetError(
            .usage, "\(directory.repositoryKey) is not there, and the copy is sealed",
            hint: "put the recovery key into a file and give --recovery-key FILE")
    }
    let key =
        if let path = call.value("recovery-key") { try DataDirectory.key(in: path) } else {
            try directory.masterKey()
        }
    let hasStore = FileSystem.exists(directory.store + "/config")
    let file = try call.value("file").map { path throws(FleetError) in try StateReader(copy: path, key: key) }
    // Before there is a coordinator that could not open its store; a key file that is there may be of another time.
    if hasStore, call.value("recovery-key") != nil { try directory.replaceMasterKey(openedBy: key) }
    let from: String
    let staged: DataDirectory
    if let file {
        staged = try CoordinatorCopies.stage(file, for: directory)
        from = FileSystem.name(of: call.value("file") ?? "")
    } else {
        (from, staged) = try stageNewest(directory, key, call.terminal)
    }
    let (events, last): (Int64, Timestamp?)
    do throws(FleetError) {
        var settings = try staged.settings()
        if let advertise { settings.advertise = "\(advertise)" }
        if let listen { settings.listen = "\(listen)" }
        try staged.write(settings)
        (events, last) = try await putBack(staged, from: from)
    } catch {
        try? CoordinatorCopies.discardStaged(of: directory)
        throw error
    }
    try CoordinatorCopies.publish(staged, as: directory)
    _ = consume lock
    if hasStore, file != nil { tellOfNewer(directory, key, events, call.terminal) }
    call.terminal.print(
        "this is the coordinator of \(last.map(\.short) ?? "before its first act") again, with \(events) events in its audit log"
    )
    call.terminal.note(
        """
        What was recorded later is not in it. Before you start it, know that certificates revoked since, roles cut, clusters
        protected and 'bundle off' said since are as they were before: do that again at once. Agents and operators that came
        since are enrolled again. Nothing is deleted by itself for a week: pin again, and set again, what was pinned and set
        since. Nobody is told of alerts before 'fleetctl alert resume'.
        The former coordinator must never start again.
        next:

        """
            + (hasStore
                ? "" : "  put the store to \(directory.store), then: fleet-coordinator rekey --recovery-key FILE\n")
                + """
                  systemctl enable --now fleet-coordinator
                  fleetctl status
                """)
    return .success
}

/// Before a coordinator can be started on it: one that does not know that it was put back deletes and sends what it must not.
private func putBack(
    _ staged: DataDirectory, from copy: String
) async throws(FleetError) -> (events: Int64, last: Timestamp?) {
    let catalogue = try Catalogue(.file(staged.catalogue), log: .standardError(level: .warning))
    do throws(FleetError) {
        let back = try await catalogue.putBack(from: copy)
        try await catalogue.foldLog()
        await catalogue.close()
        return back
    } catch {
        await catalogue.close()
        throw error
    }
}

/// Somebody who had a file at hand may not know that the store has more.
private func tellOfNewer(_ directory: DataDirectory, _ key: RepositoryKey, _ events: Int64, _ terminal: Terminal) {
    do throws(FleetError) {
        let repository = try directory.openStore(key).repository
        let newest = try CoordinatorCopies(directory: directory, repository: repository).list().last
        guard let newest, CoordinatorCopies.sequence(of: newest.name) > events else { return }
        terminal.note(
            """
            The store has a copy of a coordinator that knows more than this file, \(newest.name) of \(newest.made.short). If that
            is this fleet's, do not start this one: move settings.json, catalogue.db and keys/ away and run 'restore' without
            --file. When this one starts it sets such copies aside: RECOVERY.md, 'Copies of another coordinator'.
            """)
    } catch { terminal.note("whether the store has a newer copy can't be told: \(error.message)") }
}

/// One that a crash has cut is passed over for the one before.
private func stageNewest(
    _ directory: DataDirectory, _ key: RepositoryKey, _ terminal: Terminal
) throws(FleetError) -> (name: String, staged: DataDirectory) {
    let repository = try directory.openStore(key).repository
    let copies = try CoordinatorCopies(directory: directory, repository: repository).list()
    for copy in copies.reversed() {
        do throws(FleetError) {
            return (copy.name, try CoordinatorCopies.stage(try repository.openState(copy.name), for: directory))
        } catch {
            guard error.code == .snapshotDamaged else { throw error }
            terminal.note("the copy \(copy.name) can't be used: \(error.message)")
        }
    }
    throw FleetError(
        .notFound, "\(directory.store) has no copy of a coordinator" + (copies.isEmpty ? "" : " that can be used"),
        hint: "with keys/ or the recovery key alone: RECOVERY.md, 'A new coordinator'")
}

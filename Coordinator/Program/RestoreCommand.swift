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
    if let file {
        try CoordinatorCopies.put(file, into: directory)
        from = FileSystem.name(of: call.value("file") ?? "")
    } else {
        from = try putNewest(directory, key, call.terminal)
    }
    if advertise != nil || listen != nil {
        var settings = try directory.settings()
        if let advertise { settings.advertise = "\(advertise)" }
        if let listen { settings.listen = "\(listen)" }
        try directory.write(settings)
    }
    let catalogue = try Catalogue(.file(directory.catalogue), log: .standardError(level: .warning))
    let (events, last) = try await catalogue.putBack(from: from)
    await catalogue.close()
    _ = consume lock
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

/// One that a crash has cut is passed over for the one before.
private func putNewest(
    _ directory: DataDirectory, _ key: RepositoryKey, _ terminal: Terminal
) throws(FleetError) -> String {
    let repository = try directory.openStore(key).repository
    let copies = try CoordinatorCopies(directory: directory, repository: repository).list()
    for copy in copies.reversed() {
        do throws(FleetError) {
            try CoordinatorCopies.put(try repository.openState(copy.name), into: directory)
            return copy.name
        } catch {
            guard error.code == .snapshotDamaged else { throw error }
            terminal.note("the copy \(copy.name) can't be used: \(error.message)")
        }
    }
    throw FleetError(
        .notFound, "\(directory.store) has no copy of a coordinator" + (copies.isEmpty ? "" : " that can be used"),
        hint: "with keys/ or the recovery key alone: RECOVERY.md, 'A new coordinator'")
}

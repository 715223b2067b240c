import FleetCommandLine
import FleetProtocol
import FleetRepository
import FleetSystem
private import Glibc

let rebuildCommand = Command(
    "rebuild-catalogue", "Make the catalogue's list of snapshots again from the store",
    discussion: """
        For a coordinator whose catalogue is lost while its keys and its store are there. Clusters and snapshots come back
        from the records in the store. What was in the catalogue alone does not: agents, operators, the audit log, jobs,
        retention policies, pins that people made, the results of drills and what is known of restores. Enroll and set them again, and drill
        again; nothing is deleted by itself for a week. Where 'bundle off' was said, say it again before agents are enrolled. It runs as the data directory's owner. The coordinator must not be running, and there must be no catalogue.
        """,
    options: [CoordinatorProgram.dataOption],
    examples: [
        .init(
            "runuser -u fleet-coordinator -- fleet-coordinator rebuild-catalogue",
            "as the user that the coordinator runs as, after the catalogue was lost")
    ]
) { call in
    let directory = CoordinatorProgram.directory(call)
    try directory.checkOwner()
    _ = try directory.settings()
    let lock = try directory.lock()
    guard !FileSystem.exists(directory.catalogue) else {
        throw FleetError(
            .alreadyExists, "\(directory.catalogue) exists",
            hint: "if it is damaged, move it and its -wal and -shm files away first; they may still be of use")
    }
    let vault = try openVault(directory, log: .standardError(level: .warning))
    let done = try await vault.reconcile()
    for problem in done.unknown {
        call.terminal.note("could not be read: \(problem.id): \(Terminal.clean(problem.error.message))")
    }
    for id in done.damaged { call.terminal.note("damaged: \(id)") }
    await vault.catalogue.close()
    call.terminal.print("\(done.added.count) snapshots are in the catalogue again")
    call.terminal.note(
        "policies, pins and which clusters are protected were in the catalogue alone: set them again, pins within a week, in which "
            + "nothing is deleted by itself, and before 'fleetctl retention apply' and before anybody restores")
    call.terminal.note(
        "the configuration of every cluster's nodes is kept again: 'fleetctl bundle off CLUSTER' where it must not be, before "
            + "its agents are enrolled")
    call.terminal.note(
        "agents and operators are enrolled again: fleetctl agent token CLUSTER, then on the node: fleet-agent enroll "
            + "--force -; clusters without a snapshot are added again")
    _ = consume lock
    return done.unknown.isEmpty && done.damaged.isEmpty ? .success : .partialFailure
}

let exportCommand = Command(
    "export", "Write a snapshot to a file, without the coordinator",
    discussion:
        "For the night when the coordinator does not start: reads the store alone. The file is checked while it is written.",
    arguments: [.init("SNAPSHOT", "its whole id")],
    options: [
        .init("file", short: "f", value: "PATH", "where to write it (default: ID.db here)"),
        .init("bundles", value: "DIR", "write the nodes' configuration that is kept with it, too, to a new directory"),
        .init("recovery-key", value: "FILE", "open the store with the recovery key in this file, without keys/"),
        CoordinatorProgram.dataOption,
    ],
    examples: [
        .init(
            "fleet-coordinator export 20261124-065510-k3f9 -f /root/a.db", "then 'etcdutl snapshot restore /root/a.db'"),
        .init(
            "fleet-coordinator export 20261124-065510-k3f9 -f /root/a.db --bundles /root/nodes",
            "with manifests, keys and certificates: /root/nodes/NODE/etc/..."),
    ],
    exitStatuses: [(.partialFailure, "the snapshot was written, and the configuration of a node could not be")]
) { call in
    let id = call.argument("SNAPSHOT")!
    let path = call.value("file") ?? "\(id).db"
    guard !FileSystem.exists(path) else {
        throw FleetError(
            .alreadyExists, "\(path) exists already", hint: "name another file with --file, or move this one away")
    }
    let directory = CoordinatorProgram.directory(call)
    let key: RepositoryKey? =
        if let path = call.value("recovery-key") { try DataDirectory.key(in: path) } else { nil }
    let place = call.value("bundles")
    if let place { try BundleTree.prepare(place) }
    let store = try directory.openStore(key)
    let record = try await blocking { () throws(FleetError) in try StoreExport.write(id, of: store, to: path) }
    call.terminal.print("\(id) written to \(path), \(Human.bytes(record.size)), sha256 of the file \(record.sha256)")
    guard let place else { return .success }
    var failed = false
    for node in record.bundles ?? [] {
        do throws(FleetError) {
            try await blocking { () throws(FleetError) in
                try BundleTree.write(try Bundle.decode(try store.bundle(node.bundle)), of: node.node, to: place)
            }
        } catch {
            // The others are of use without it.
            failed = true
            call.terminal.note(
                "the configuration of \(Terminal.clean(node.node)) could not be written: \(Terminal.clean(error.message))"
            )
            continue
        }
        call.terminal.print("\(place)/\(node.node) is its configuration of \(node.collected.short)")
    }
    if record.bundles == nil { call.terminal.note("no configuration of nodes is kept with it") }
    return failed ? .partialFailure : .success
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let storeCommand = Command(
    "store", "The snapshot repository itself",
    subcommands: [
        Command(
            "check", "Examine every file that a snapshot needs",
            discussion: """
                Names the snapshots that a damaged or missing file touches; the coordinator marks them and no restore
                chooses them. With --read-data every block is decrypted and compared, so that no flipped bit is missed; that
                takes as long as reading the whole repository. Then those that were marked before and are in no finding now
                are read whole, and what is whole can be restored again: run it after a file was put back. Where it is the
                configuration of a node ('bundles' in the path), the snapshots' data can be restored all the same.
                """,
            options: [.init("read-data", "read every block, too"), Output.option],
            examples: [.init("fleetctl store check --read-data", "once a month, from a timer")],
            exitStatuses: [(.partialFailure, "something is damaged or missing")]
        ) { call in
            let control = try await Coordinator.control(call)
            let reply: StoreCheckReply = try await control.ask(
                ControlMethod.checkStore, StoreCheckRequest(readData: call.has("read-data")))
            if Output.isJSON(call) { try Output.json(reply, call) } else { show(reply, call.terminal) }
            return reply.findings.isEmpty ? .success : .partialFailure
        },
        Command(
            "stats", "What the repository holds and what it takes",
            options: [Output.option], examples: [.init("fleetctl store stats", "how much deduplication saves")]
        ) { call in
            let control = try await Coordinator.control(call)
            let reply: StoreStatistics = try await control.ask(ControlMethod.storeStatistics, [String: String]())
            if Output.isJSON(call) { try Output.json(reply, call) } else { show(reply, call.terminal) }
            return .success
        },
        Command(
            "gc", "Give back the space of what no snapshot needs",
            discussion: """
                Removes packs of deleted snapshots and what crashes left behind, and gives back unneeded blocks inside of
                packs that stay. Never touches what a snapshot or an upload needs; if a snapshot can't be read, nothing is
                removed.
                """,
            options: [.init("dry-run", "only say what would go"), Output.option],
            examples: [.init("fleetctl store gc --dry-run", "see first")]
        ) { call in
            let control = try await Coordinator.control(call)
            let isRehearsal = call.has("dry-run")
            let reply: StoreCollectReply = try await control.call(
                ControlMethod.collectStore, StoreCollectRequest(dryRun: isRehearsal))
            if Output.isJSON(call) {
                try Output.json(reply, call)
            } else {
                show(reply, isRehearsal: isRehearsal, call.terminal)
            }
            return .success
        },
    ])

private func show(_ reply: StoreCheckReply, _ terminal: Terminal) {
    for finding in reply.findings {
        terminal.print("\(terminal.red("damaged")) \(Terminal.clean(finding.path))")
        terminal.print("        \(Terminal.clean(finding.problem.message))")
        if !finding.snapshots.isEmpty {
            terminal.print("        snapshots: \(Terminal.clean(finding.snapshots.joined(separator: " ")))")
        }
        if let hint = finding.problem.hint { terminal.print("        hint: \(Terminal.clean(hint))") }
    }
    let read = reply.bytesRead > 0 ? ", \(Human.bytes(reply.bytesRead)) read" : ""
    if let recovered = reply.recovered, !recovered.isEmpty {
        terminal.print("whole again: \(Terminal.clean(recovered.joined(separator: " ")))")
    }
    let verdict = reply.findings.isEmpty ? terminal.green("sound") : ReportText.count(reply.findings.count, "finding")
    terminal.print(
        "\(verdict): \(ReportText.count(reply.snapshots, "snapshot")), \(ReportText.count(reply.packs, "pack"))\(read)")
}

private func show(_ reply: StoreStatistics, _ terminal: Terminal) {
    var table = Table([
        ("CLUSTER", .left), ("SNAPSHOTS", .right), ("SIZE", .right), ("STORED", .right), ("RATIO", .right),
    ])
    func add(_ name: String, _ snapshots: Int, _ bytes: Int64, _ stored: Int64) {
        let ratio = stored == 0 ? "-" : "\((Double(bytes) / Double(stored) * 10).rounded() / 10)x"
        table.add([name, "\(snapshots)", Human.bytes(bytes), Human.bytes(stored), ratio])
    }
    for one in reply.clusters { add(one.name, one.snapshots, one.bytes, one.storedBytes) }
    // Uploads under way, packs of deleted snapshots, and what can't be read.
    let rest = reply.storedBytes - reply.clusters.reduce(0) { $0 + $1.storedBytes }
    if rest > 0 { table.add(["(none)", "", "", Human.bytes(rest), ""]) }
    add("(all)", reply.snapshots, reply.bytes, reply.storedBytes)
    table.print(terminal)
    if reply.uploads > 0 {
        terminal.note("\(ReportText.count(reply.uploads, "upload is", "uploads are")) under way or interrupted")
    }
}

private func show(_ reply: StoreCollectReply, isRehearsal: Bool, _ terminal: Terminal) {
    for file in reply.files { terminal.print("\(isRehearsal ? "would remove" : "removed") \(Terminal.clean(file))") }
    terminal.print(
        "\(ReportText.count(reply.files.count, "file")) of \(Human.bytes(reply.fileBytes)) and "
            + "\(ReportText.count(Int(reply.blocks), "block")) of \(Human.bytes(reply.blockBytes)) "
            + (isRehearsal ? "are not needed" : "were given back"))
    if reply.cannotRelease {
        terminal.note("this file system can't give back parts of files; the blocks stay until their packs go")
    }
}

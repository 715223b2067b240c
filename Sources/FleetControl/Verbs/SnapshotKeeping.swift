internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// What keeps a single snapshot or ends it.
let snapshotKeepingCommands = [
    pinCommand("pin", "Keep a snapshot whatever the retention policy says", pinned: true),
    pinCommand("unpin", "Leave a snapshot to the retention policy again", pinned: false),
    Command(
        "delete", "Delete a snapshot for good",
        discussion: """
            Refused for a pinned one, for one that an open restore needs, and for the newest verified one of its cluster,
            unless that has no agent any more and --newest-too says that it is given up. The space comes back with 'fleetctl
            store gc'.
            """,
        arguments: [.init("SNAPSHOT", "its id, or a unique beginning of it")],
        options: [
            .init("newest-too", "also the newest verified one of a cluster without agents"),
            .init("yes", short: "y", "do not ask"),
        ],
        examples: [.init("fleetctl snapshot delete 20261124-0655", "asks first")],
        exitStatuses: [(.declined, "the question was not answered with yes")]
    ) { call in
        let control = try await Coordinator.control(call)
        let entry: SnapshotEntry = try await control.ask(
            ControlMethod.showSnapshot, NameRequest(name: call.argument("SNAPSHOT")!))
        let record = entry.record
        let terminal = call.terminal
        let question = "Delete \(record.id) of \(record.cluster), saved \(record.facts.savedAt.ago()), for good?"
        guard call.has("yes") || terminal.confirms(question) else {
            terminal.note("nothing was deleted; it goes on with y on a terminal, or with --yes")
            return .declined
        }
        let gone: SnapshotEntry = try await control.call(
            ControlMethod.deleteSnapshot,
            DeletionRequest(name: record.id, newestToo: call.has("newest-too") ? true : nil))
        terminal.print(
            "\(gone.record.id) deleted; what no other snapshot needs of its space comes back with: fleetctl store gc")
        return .success
    },
]

private func pinCommand(_ name: String, _ summary: String, pinned: Bool) -> Command {
    Command(
        name, summary, arguments: [.init("SNAPSHOT", "its id, or a unique beginning of it")],
        examples: [.init("fleetctl snapshot \(name) 20261124-0655", "a beginning of the id is enough")]
    ) { call in
        let control = try await Coordinator.control(call)
        let entry: SnapshotEntry = try await control.call(
            ControlMethod.pinSnapshot, PinRequest(name: call.argument("SNAPSHOT")!, pinned: pinned))
        call.terminal.print("\(entry.record.id) is \(entry.pinned ? "pinned" : "not pinned any more")")
        return .success
    }
}

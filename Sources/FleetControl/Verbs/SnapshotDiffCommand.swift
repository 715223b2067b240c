internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let snapshotDiffCommand = Command(
    "diff", "Show which keys differ between two snapshots",
    discussion: """
        Counts what was added, changed and removed from the first snapshot to the second by kind and namespace of
        Kubernetes, then lists the keys: + added, ~ changed, - removed. A key that was written again with the same value has
        changed too. Values are never shown; 'fleetctl snapshot cat' shows one.
        """,
    arguments: [.init("FROM", "a snapshot: its id, or a unique beginning of it"), .init("TO", "the later one")],
    options: [
        .init("prefix", value: "PREFIX", "only keys that begin with it"),
        .init("summary", "only the counts, not the keys"), Output.option,
    ],
    examples: [
        .init("fleetctl snapshot diff 20261124-0655 20261124-0755 --summary", "what happened in that hour"),
        .init(
            "fleetctl snapshot diff 20261124-0655 20261124-0755 --prefix /registry/secrets/", "which Secrets changed"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let request = DiffRequest(
        from: call.argument("FROM")!, to: call.argument("TO")!, prefix: call.value("prefix") ?? "",
        wantsKeys: !call.has("summary"))
    let stream = try await control.connected().open(
        ControlMethod.compareSnapshots, try JSON.encode(request), ends: true)
    var output = DiffOutput(call)
    while true {
        switch try await stream.receive() {
        case .message(let bytes): try output.add(try JSON.decode(DiffPart.self, from: bytes))
        case .end:
            try output.end()
            return .success
        case .data: throw FleetError(.protocolViolation, "bytes in a comparison")
        }
    }
}

/// Prints a comparison while it arrives: the counts when all groups are there, then key after key.
private struct DiffOutput {
    private let call: Invocation
    private var totals: DiffTotals?
    private var groups: [DiffGroup] = []
    private var hasCounts = false
    private var list: JSONList

    init(_ call: Invocation) {
        self.call = call
        list = JSONList(call)
    }

    mutating func add(_ part: DiffPart) throws(FleetError) {
        if let totals = part.totals { self.totals = totals }
        groups += part.groups ?? []
        guard let keys = part.keys else { return }
        try printCounts()
        for one in keys {
            if Output.isJSON(call) {
                try list.add(one)
            } else {
                let mark = ["added": "+", "changed": "~", "removed": "-"][one.change] ?? "?"
                call.terminal.print("\(mark) \(KeyLine.name(one.key))")
            }
        }
    }

    mutating func end() throws(FleetError) {
        try printCounts()
        if Output.isJSON(call), !call.has("summary") { list.end("\n}") }
        for entry in [totals?.from, totals?.to] { if let entry { KeyLine.warn(entry, call.terminal) } }
    }

    private mutating func printCounts() throws(FleetError) {
        guard !hasCounts else { return }
        guard let totals else { throw FleetError(.protocolViolation, "a comparison without its totals") }
        hasCounts = true
        if Output.isJSON(call) {
            // The keys may be more than memory holds, so the object is put together by hand, field by field.
            let isSummary = call.has("summary")
            call.terminal.printRaw(
                """
                {
                "from": \(try JSON.text(totals.from.record.id)),
                "to": \(try JSON.text(totals.to.record.id)),
                "total": \(try JSON.text(totals.counts)),
                "unchanged": \(totals.unchanged),
                "groups": \(try JSON.text(groups))\(isSummary ? "\n}\n" : ",\n\"keys\": ")
                """)
            return
        }
        describe(totals)
    }

    private func describe(_ totals: DiffTotals) {
        let terminal = call.terminal
        for (word, entry) in [("from", totals.from), ("to  ", totals.to)] {
            let record = entry.record
            terminal.note(
                "\(word)  \(record.id)  \(record.cluster)  saved \(record.facts.savedAt.short)  revision \(record.facts.status.revision)"
            )
        }
        guard !groups.isEmpty else {
            return terminal.print("no key differs; \(totals.unchanged) are the same")
        }
        var table = Table([
            ("KIND", .left), ("NAMESPACE", .left), ("ADDED", .right), ("CHANGED", .right), ("REMOVED", .right),
        ])
        for group in groups {
            table.add(
                [
                    group.kind, group.namespace, "\(group.counts.added)", "\(group.counts.changed)",
                    "\(group.counts.removed)",
                ])
        }
        let all = totals.counts
        table.add(["(all)", "", "\(all.added)", "\(all.changed)", "\(all.removed)"])
        table.print(terminal)
        terminal.print("\(totals.unchanged) keys are the same")
        if !call.has("summary") { terminal.print("") }
    }
}

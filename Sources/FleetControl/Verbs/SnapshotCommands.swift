internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

let snapshotCommand = Command(
    "snapshot", "Snapshots in the store",
    subcommands: [
        Command(
            "list", "List snapshots, newest first",
            arguments: [.init("CLUSTER", "only this cluster's", count: .optional)],
            options: [.init("limit", value: "N", "at most so many (default 100)"), Output.option],
            examples: [.init("fleetctl snapshot list cluster-a", "what cluster-a can be restored to")]
        ) { call in
            let control = try await Coordinator.control(call)
            let limit = try call.number("limit", default: 100)
            let entries: [SnapshotEntry] = try await control.ask(
                ControlMethod.listSnapshots, ListRequest(cluster: call.argument("CLUSTER"), limit: limit))
            if Output.isJSON(call) {
                try Output.json(entries, call)
                return .success
            }
            var table = Table([
                ("SNAPSHOT", .left), ("CLUSTER", .left), ("SAVED", .left), ("REVISION", .right), ("KEYS", .right),
                ("SIZE", .right), ("ETCD", .left),
                ("STATE", .left), ("DRILL", .left),
            ])
            let terminal = call.terminal
            for entry in entries {
                let (record, facts) = (entry.record, entry.record.facts)
                table.add(
                    [
                        record.id, record.cluster, facts.savedAt.short, "\(facts.status.revision)",
                        (record.verification?.liveKeys ?? facts.liveKeys).map { "\($0)" } ?? "-",
                        Human.bytes(record.size),
                        facts.etcdVersion, entry.state, DrillWords.short(entry.drill),
                    ],
                    paint: [
                        7: { entry.condition == .verified ? terminal.green($0) : terminal.red($0) },
                        8: DrillWords.paint(entry.drill, terminal),
                    ])
            }
            if table.isEmpty {
                terminal.note("there are no snapshots yet; make one with 'fleetctl backup CLUSTER'")
            } else {
                table.print(terminal)
            }
            if entries.count == limit { terminal.note("only the newest \(limit) are shown; --limit shows more") }
            return .success
        },
        Command(
            "show", "Show all that is known of a snapshot",
            arguments: [.init("SNAPSHOT", "its id, or a unique beginning of it")],
            options: [Output.option],
            examples: [.init("fleetctl snapshot show 20261124-0655", "a beginning of the id is enough")]
        ) { call in
            let control = try await Coordinator.control(call)
            let entry: SnapshotEntry = try await control.ask(
                ControlMethod.showSnapshot, NameRequest(name: call.argument("SNAPSHOT")!))
            if Output.isJSON(call) { try Output.json(entry, call) } else { SnapshotShow.print(entry, call.terminal) }
            return .success
        },
        Command(
            "export", "Write a snapshot to a file that etcd's own tools accept",
            discussion:
                "The file appears under its name only when it is whole and its SHA-256 is right. An existing file is never replaced.",
            arguments: [.init("SNAPSHOT", "its id, or a unique beginning of it")],
            options: [.init("file", short: "f", value: "PATH", "where to write it (default: ID.db here)")],
            examples: [
                .init("fleetctl snapshot export 20261124-0655 -f /tmp/a.db", "then 'etcdutl snapshot status /tmp/a.db'")
            ]
        ) { call in
            let control = try await Coordinator.control(call)
            let entry: SnapshotEntry = try await control.ask(
                ControlMethod.showSnapshot, NameRequest(name: call.argument("SNAPSHOT")!))
            let path = call.value("file") ?? "\(entry.record.id).db"
            try await export(entry, to: path, control)
            call.terminal.print(
                "\(entry.record.id) written to \(path), \(Human.bytes(entry.record.size)), sha256 of the file \(entry.record.sha256)"
            )
            return .success
        },
        snapshotKeysCommand, snapshotDiffCommand, snapshotCatCommand, snapshotImportCommand,
    ] + snapshotKeepingCommands)

private func export(_ entry: SnapshotEntry, to path: String, _ control: Control) async throws(FleetError) {
    guard !FileSystem.exists(path) else {
        throw FleetError(
            .alreadyExists, "\(path) exists already", hint: "name another file with --file, or move this one away")
    }
    // It holds every Secret of the cluster: whatever ends this, nothing of it is left.
    let file = try await onDisk { () throws(FleetError) in try HashedFile(for: path) }
    let stream = try await control.connected().open(
        ControlMethod.exportSnapshot, try JSON.encode(NameRequest(name: entry.record.id)), ends: true)
    receiving: while true {
        switch try await stream.receive() {
        case .data(let bytes): try await onDisk { () throws(FleetError) in try file.write(bytes) }
        case .end(let body):
            let digest = try JSON.decode(StreamDigest.self, from: body)
            guard digest == StreamDigest(length: file.length, sha256: file.digest),
                digest.sha256 == entry.record.sha256
            else {
                throw FleetError(
                    .malformed, "what arrived is not the snapshot that was stored",
                    hint: "try again; if it stays so, the stored file is damaged")
            }
            break receiving
        case .message: throw FleetError(.protocolViolation, "a message among the bytes of a snapshot")
        }
    }
    try await onDisk { () throws(FleetError) in try file.publish() }
}

/// Disk work on a thread made for it, with the fleet's error.
func onDisk<Value: Sendable>(_ body: @escaping @Sendable () throws(FleetError) -> Value)
    async throws(FleetError)
    -> Value
{
    do { return try await Blocking.run(body) } catch { throw FleetError(error) }
}

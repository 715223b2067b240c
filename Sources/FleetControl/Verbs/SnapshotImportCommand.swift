internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

let snapshotImportCommand = Command(
    "import", "Store a snapshot file that you have already",
    discussion: """
        Takes what 'etcdctl snapshot save' wrote, whoever saved it. The coordinator reads every page, key and value, as of
        an agent's snapshot, and stores it. A file names no etcd cluster: where its members point to one that the cluster
        was known by, it is 'verified' and as good as an agent's; otherwise it is 'foreign', is never chosen by itself, and
        is restored only with --from-other-cluster. Where the revision of a verified one contradicts its time, by the backups
        that agents made, nothing is stored: a copy may be younger than what is in it, and would pass for the latest backup.

        With --raw-db it takes a stopped member's member/snap/db. No digest of etcd's protects that, and agents don't restore
        it; 'snapshot export' gives the same bytes back, for 'etcdutl snapshot restore --skip-hash-check'.
        """,
    arguments: [.init("FILE", "the snapshot")],
    options: [
        .init("cluster", value: "NAME", "the cluster that it is of"),
        .init("saved-at", value: "TIME", "when it was saved (default: when the file was last changed)"),
        .init("raw-db", "the file is a member's raw database, without a digest at its end"), Output.option,
    ],
    examples: [
        .init("fleetctl snapshot import /backup/etcd.db --cluster cluster-a", "an old backup"),
        .init(
            "fleetctl snapshot import old.db --cluster cluster-a --saved-at 2026-11-24T06:55:00Z",
            "a copy whose own time says nothing"),
    ],
    exitStatuses: [
        (.findings, "stored, but something in it is wrong: it is marked as damaged"),
        (.notASnapshot, "the file is no etcd snapshot; nothing was stored"),
    ]
) { call in
    guard let cluster = call.value("cluster") else {
        throw FleetError(.usage, "--cluster is missing", hint: "give the cluster that the snapshot is of")
    }
    let control = try await Coordinator.control(call)
    let path = call.argument("FILE")!
    let request = try await describe(path, cluster, call)
    let entry: SnapshotEntry
    do { entry = try await send(path, request, control) } catch {
        let error = FleetError(error)
        guard error.code == "not-a-snapshot" else { throw error }
        call.terminal.error(error)
        return .notASnapshot
    }
    if Output.isJSON(call) { try Output.json(entry, call) } else { report(entry, call.terminal) }
    return entry.condition == .damaged ? .findings : .success
}

/// Reads the file once for its digest, so that one that is stored already is not sent.
private func describe(_ path: String, _ cluster: String, _ call: Invocation) async throws(FleetError) -> ImportRequest {
    let told: Timestamp? = try call.value("saved-at").map { text throws(FleetError) in
        guard let time = Timestamp(text) else {
            throw FleetError(
                .usage, "--saved-at takes a time such as 2026-11-24T06:55:00Z, not \(text.debugDescription)")
        }
        return time
    }
    let isRaw = call.has("raw-db")
    return try await onDisk { () throws(FleetError) in
        guard let status = try FileSystem.status(path) else { throw FleetError(.notFound, "\(path): no such file") }
        guard status.kind == .file else {
            throw FleetError(.malformed, "\(path) is not a regular file", hint: "name the snapshot file itself")
        }
        let file = try HashedFile(reading: path)
        while !(try file.read(1 << 20)).isEmpty {}
        return ImportRequest(
            cluster: cluster, file: FileSystem.name(of: path), size: file.length, sha256: file.digest,
            savedAt: told ?? Timestamp(milliseconds: status.modified * 1000), isRawDatabase: isRaw)
    }
}

private func send(_ path: String, _ request: ImportRequest, _ control: Control) async throws(FleetError)
    -> SnapshotEntry
{
    let stream = try await control.connected().open(ControlMethod.importSnapshot, try JSON.encode(request))
    do throws(FleetError) {
        let offset = try await stream.receiveMessage(UploadOffset.self).offset
        let file = try await onDisk { () throws(FleetError) in
            let file = try HashedFile(reading: path)
            try file.skip(to: offset)
            return file
        }
        while true {
            let bytes = try await onDisk { () throws(FleetError) in try file.read(256 << 10) }
            if bytes.isEmpty { break }
            try await stream.send(bytes)
        }
        try await stream.finish(StreamDigest(length: file.length, sha256: file.digest))
        return try JSON.decode(SnapshotEntry.self, from: try await stream.receiveReply())
    } catch {
        await stream.fail(error)
        throw error
    }
}

private func report(_ entry: SnapshotEntry, _ terminal: Terminal) {
    let (record, facts) = (entry.record, entry.record.facts)
    let keys = record.verification?.liveKeys.map { ", \($0) keys" } ?? ""
    let paint = entry.condition == .verified ? terminal.green : terminal.red
    terminal.print(
        "\(record.id)  \(paint(entry.condition.rawValue))  \(record.cluster)  saved \(facts.savedAt.short)  "
            + "revision \(facts.status.revision)\(keys), \(Human.bytes(record.size))")
    for warning in facts.warnings { terminal.note("note: \(Terminal.clean(warning))") }
    if let problem = entry.problem {
        terminal.note("\(entry.condition.rawValue): \(Terminal.clean(problem.message))")
        if let hint = problem.hint { terminal.note("hint: \(Terminal.clean(hint))") }
    }
}

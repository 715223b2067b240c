internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let snapshotKeysCommand = Command(
    "ls", "List the keys that are in a snapshot",
    discussion: """
        Read by the coordinator from the stored snapshot: the keys that are alive at its revision, sorted, without their
        values. Sizes are those of the values, in bytes. Control characters in keys are printed as spaces; -o json has
        them as they are.
        """,
    arguments: [.init("SNAPSHOT", "its id, or a unique beginning of it")],
    options: [.init("prefix", value: "PREFIX", "only keys that begin with it"), Output.option],
    examples: [
        .init("fleetctl snapshot ls 20261124-0655 --prefix /registry/secrets/", "which Secrets there are"),
        .init("fleetctl snapshot ls 20261124-0655 -o json | jq -r '.[].key'", "for a script"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let request = KeysRequest(snapshot: call.argument("SNAPSHOT")!, prefix: call.value("prefix") ?? "")
    let stream = try await control.connected().open(ControlMethod.listKeys, try JSON.encode(request), ends: true)
    let terminal = call.terminal
    var list = JSONList(call)
    var count = 0
    while true {
        switch try await stream.receive() {
        case .message(let bytes):
            for key in try JSON.decode(KeysPart.self, from: bytes).keys {
                if count == 0, !Output.isJSON(call) { terminal.print(terminal.bold(KeyLine.heading)) }
                count += 1
                if Output.isJSON(call) { try list.add(key) } else { terminal.print(KeyLine.text(key)) }
            }
        case .end(let body):
            let entry = try JSON.decode(SnapshotEntry.self, from: body)
            if Output.isJSON(call) { list.end() }
            let record = entry.record
            terminal.note(
                "\(count) keys in \(record.id) of \(record.cluster), saved \(record.facts.savedAt.short), revision \(record.facts.status.revision)"
            )
            KeyLine.warn(entry, terminal)
            return .success
        case .data: throw FleetError(.protocolViolation, "bytes in a list of keys")
        }
    }
}

/// A key as a line. It stands last, since it may be of any length, and nothing is cut off.
enum KeyLine {
    static let heading = "    MODIFIED  VERSION      SIZE  LEASE             KEY"

    static func text(_ key: KeyRecord) -> String {
        right(key.modRevision, 12) + "  " + right(key.version, 7) + "  " + right(key.size, 8) + "  "
            + left(key.lease ?? "-", 16) + "  " + name(key)
    }

    static func name(_ key: KeyRecord) -> String {
        Terminal.clean(key.key) + (key.isCut == true ? "... (its beginning; it is longer)" : "")
    }

    /// What a snapshot that is not sound shows may be incomplete.
    static func warn(_ entry: SnapshotEntry, _ terminal: Terminal) {
        guard entry.condition == .damaged else { return }
        terminal.note(
            "\(entry.record.id) is damaged: what its damaged parts hold is not shown; see 'fleetctl snapshot show \(entry.record.id)'"
        )
    }

    private static func right(_ number: some BinaryInteger, _ width: Int) -> String {
        let text = "\(number)"
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}

/// A JSON array that is printed as its elements come, one a line: a listing may be longer than memory.
struct JSONList {
    private let terminal: Terminal
    private var count = 0
    /// What ends an element that is not the last; written before the next one.
    private var pending = "["

    init(_ call: Invocation) { terminal = call.terminal }

    mutating func add(_ value: some Encodable) throws(FleetError) {
        terminal.printRaw(pending + "\n  " + (try JSON.text(value)))
        pending = ","
        count += 1
    }

    func end(_ rest: String = "") { terminal.printRaw((count == 0 ? "[]" : "\n]") + rest + "\n") }
}

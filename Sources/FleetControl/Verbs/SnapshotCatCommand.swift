internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let snapshotCatCommand = Command(
    "cat", "Write the value of one key of a snapshot to standard output",
    discussion: """
        The value's bytes as etcd has them, and nothing else. Kubernetes keeps most objects as protobuf, which a terminal
        can't show: redirect it, or give --raw. The value of a Secret is shown only with --show-secrets. That you looked,
        and at which key, is in the audit log.
        """,
    arguments: [.init("SNAPSHOT", "its id, or a unique beginning of it"), .init("KEY", "the whole key")],
    options: [
        .init("show-secrets", "yes, show the value of a Secret"),
        .init("raw", "write it to a terminal, whatever it is"),
    ],
    examples: [
        .init(
            "fleetctl snapshot cat 20261124-0655 /registry/configmaps/default/app > app.pb",
            "one object, as it was stored")
    ]
) { call in
    let control = try await Coordinator.control(call)
    let key = call.argument("KEY")!
    let request = ValueRequest(
        snapshot: call.argument("SNAPSHOT")!, key: key, showSecrets: call.has("show-secrets"))
    let stream = try await control.connected().open(ControlMethod.showValue, try JSON.encode(request), ends: true)
    var value: [UInt8] = []
    receiving: while true {
        switch try await stream.receive() {
        case .data(let bytes): value += bytes
        case .end(let body):
            let record = try JSON.decode(KeyRecord.self, from: body)
            guard record.size == value.count else {
                throw FleetError(
                    .malformed, "\(value.count) of the value's \(record.size) bytes arrived", hint: "try again")
            }
            break receiving
        case .message: throw FleetError(.protocolViolation, "a message among the bytes of a value")
        }
    }
    let terminal = call.terminal
    if terminal.outputIsTerminal, !call.has("raw") {
        guard let text = printable(value) else {
            throw FleetError(
                .usage, "the value is binary (\(value.count) bytes), which a terminal can't show",
                hint: "redirect it to a file, pipe it to 'hexdump -C', or give --raw")
        }
        terminal.print(text)
    } else {
        try terminal.printBytes(value)
    }
    return .success
}

/// Text without control characters but tabs and line ends; nil for anything else.
private func printable(_ value: [UInt8]) -> String? {
    guard let text = String(validating: value, as: UTF8.self) else { return nil }
    let isPlain = text.unicodeScalars.allSatisfy { scalar in
        scalar == "\n" || scalar == "\t" || !(scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value))
    }
    return isPlain ? text : nil
}

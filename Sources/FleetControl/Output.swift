internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// `-o`: a table for people, JSON for scripts.
enum Output {
    static let option = Command.Option(
        "output", short: "o", value: "FORMAT", "how to print", choices: ["table", "json"])

    static func isJSON(_ call: Invocation) -> Bool { call.value("output") == "json" }

    /// Pretty, keys sorted, a line end at the end.
    static func json(_ value: some Encodable, _ call: Invocation) throws(FleetError) {
        call.terminal.print(try JSON.text(value, pretty: true))
    }
}

extension JobState {
    /// Painted by what it means; the word itself carries the meaning.
    func paint(_ terminal: Terminal) -> @Sendable (String) -> String {
        switch self {
        case .succeeded: { terminal.green($0) }
        case .queued, .delivered, .running: { terminal.yellow($0) }
        case .failed, .rolledBack, .stuck, .refused, .expired, .lost: { terminal.red($0) }
        }
    }
}

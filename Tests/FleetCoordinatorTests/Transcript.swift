import FleetCommandLine
import FleetControl
import FleetSystem

@testable import FleetCoordinator

/// What a command of `fleetctl` said, and how it ended.
struct Transcript {
    var status: FleetCommandLine.ExitStatus
    var out: String
    var err: String
}

extension TestServer {
    /// As root on the coordinator's host, without a terminal.
    func fleetctl(_ words: String...) async -> Transcript { await Self.fleetctl(words + ["--server", socket]) }

    static func fleetctl(_ words: [String]) async -> Transcript {
        let printed = Monitor((out: "", err: ""))
        let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 100) {
            descriptor, text in
            printed.withLock { if descriptor == 1 { $0.out += text } else { $0.err += text } }
        }
        let status = await Program.run(words, Fleetctl.command, version: "test", terminal: terminal)
        let (out, err) = printed.withLock { $0 }
        return Transcript(status: status, out: out, err: err)
    }
}

import FleetAgent
import FleetCommandLine
import FleetCoordinator
import FleetSystem
import Testing

/// What ends a service is a line of its log, as all else that it says.
@Suite struct ServiceTests {
    private func run(
        _ root: Command, _ words: [String], isTerminal: Bool
    ) async -> (FleetCommandLine.ExitStatus, String) {
        let recorder = Recorder()
        let status = await Program.run(words, root, version: "1", terminal: recorder.terminal(color: isTerminal))
        return (status, recorder.errors)
    }

    private static let ends: [(program: Int, words: [String], code: String, status: FleetCommandLine.ExitStatus)] = [
        (1, ["run", "--state", "/nonexistent"], "not-enrolled", .failure),
        (2, ["serve", "--data", "/nonexistent"], "not-found", .failure),
        (2, ["serve", "--date", "/nonexistent"], "usage", .usage),
    ]

    @Test(arguments: ends.indices) func inTheJournalItIsOneObject(_ index: Int) async throws {
        let end = Self.ends[index]
        let program = fleetPrograms[end.program]
        let (status, text) = await run(program, end.words, isTerminal: false)
        #expect(status == end.status)
        try #require(text.hasSuffix("}\n") && text.count { $0 == "\n" } == 1, "\(text)")
        let line = try JSON.decode([String: String].self, from: Array(text.utf8))
        #expect(line["level"] == "error" && line["code"] == end.code && line["time"] != nil, "\(text)")
        #expect(line["message"]?.hasPrefix("'\(program.name) \(end.words[0])' ends: ") == true)
        #expect(line["hint"]?.isEmpty == false)

        let (same, human) = await run(program, end.words, isTerminal: true)
        #expect(same == end.status && !human.contains("{") && human.contains("error") && human.contains("hint"))
    }

    @Test func whatIsNoServiceSpeaksToPeople() async {
        let (status, text) = await run(
            CoordinatorProgram.command, ["rebuild-catalogue", "--data", "/nonexistent"], isTerminal: false)
        #expect(status == .failure && text.hasPrefix("error: "))
    }
}

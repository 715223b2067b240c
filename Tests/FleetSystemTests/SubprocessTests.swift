import FleetSystem
import Glibc
import Testing

@Suite struct SubprocessTests {
    @Test func outputInputAndStatus() async throws {
        let outcome = try await Blocking.run { try Subprocess.run("/bin/cat", ["-"], input: Array("hello".utf8)) }
        #expect(outcome.succeeded && outcome.outputText == "hello")
        let failed = try await Blocking.run { try Subprocess.run("/bin/ls", ["/nonexistent"]) }
        #expect(failed.status == 2 && failed.complaint.contains("nonexistent"))
    }

    @Test func moreThanAPipeHoldsInBothDirections() async throws {
        let input = [UInt8](repeating: 65, count: 3 << 20)
        let outcome = try await Blocking.run { try Subprocess.run("/bin/cat", input: input) }
        #expect(outcome.output == input)
    }

    @Test func nothingIsInherited() async throws {
        let outcome = try await Blocking.run { try Subprocess.run("/usr/bin/env", environment: ["A": "1"]) }
        #expect(outcome.outputText == "A=1\n")
    }

    @Test func deadlineReachesTheWholeGroup() async throws {
        let start = ContinuousClock.now
        do {
            _ = try await Blocking.run {
                try Subprocess.run("/bin/sh", ["-c", "sleep 600 & sleep 600"], deadline: .milliseconds(200))
            }
            Issue.record("did not time out")
        } catch let error as FleetError { #expect(error.code == .timedOut) }
        #expect(ContinuousClock.now - start < .seconds(300))
    }

    @Test func aGrandchildThatKeepsThePipesOpenHoldsNobodyUp() async throws {
        let start = ContinuousClock.now
        let outcome = try await Blocking.run {
            try Subprocess.run("/bin/sh", ["-c", "sleep 600 & echo $!; exit 3"])
        }
        #expect(ContinuousClock.now - start < .seconds(300))
        #expect(outcome.status == 3)
        let grandchild = try #require(pid_t(outcome.outputText.dropLast()))
        #expect(kill(grandchild, SIGKILL) == 0)
    }

    @Test func tooMuchOutput() async {
        await #expect {
            try await Blocking.run { try Subprocess.run("/usr/bin/yes", deadline: .seconds(30), outputLimit: 100_000) }
        } throws: {
            ($0 as? FleetError)?.code == .malformed
        }
    }

    @Test func aProgramThatIsNotThere() async {
        await #expect { try await Blocking.run { try Subprocess.run("/nonexistent/program") } } throws: {
            ($0 as? FleetError)?.code == .notFound
        }
    }
}

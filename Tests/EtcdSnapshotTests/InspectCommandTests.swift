import EtcdSampleFiles
import EtcdSnapshot
import FleetCommandLine
import FleetControl
import FleetSystem
import Testing

/// `fleetctl inspect` as it is typed: what it prints and how it ends.
@Suite struct InspectCommandTests {
    private func run(_ bytes: [UInt8]?, _ words: String...) async throws -> (
        status: FleetCommandLine.ExitStatus, out: String, err: String
    ) {
        let path = "/tmp/fleet-reader-test-\(Randomness.token(12)).db"
        defer { try? FileSystem.remove(path) }
        if let bytes { try FileSystem.writeDurably(path, bytes) }
        let output = Printed()
        let terminal = Terminal(outputIsTerminal: false, errorIsTerminal: false, color: false, columns: 100) {
            output.add($0, $1)
        }
        let status = await Program.run(
            ["inspect", path] + words, Fleetctl.command, version: "test", terminal: terminal)
        return (status, output.text(1), output.text(2))
    }

    @Test func aSoundSnapshot() async throws {
        let result = try await run(withTrailer(SampleEtcd.rich().build(compacted: 10)), "-o", "json")
        #expect(result.status == .success && result.err == "")
        let report = try JSON.decode(SnapshotReport.self, from: Array(result.out.utf8))
        #expect(report.isSound && report.revision == 33)
        for name in [
            "hash", "revision", "totalKey", "totalSize", "liveKeys", "sha256", "stored", "computed", "ok",
            "clusterVersion", "members", "alarms", "hashKV", "findings",
        ] { #expect(result.out.contains("\"\(name)\" :"), "\(name) is missing") }
        let table = try await run(withTrailer(SampleEtcd.rich().build()))
        #expect(table.status == .success && table.out.contains("none, it is sound"))
        #expect(table.out.contains("keys             25 live, 44 entries in all"))
    }

    @Test func findingsHaveTheirOwnStatus() async throws {
        var bytes = withTrailer(SampleEtcd.rich().build())
        bytes[bytes.count - 1] ^= 1
        let result = try await run(bytes)
        #expect(result.status == .findings && result.status.code == 7 && result.out.contains("trailer"))
        let json = try await run(bytes, "-o", "json")
        #expect(json.status == .findings)
        #expect(try JSON.decode(SnapshotReport.self, from: Array(json.out.utf8)).findings.map(\.kind) == [.trailer])
    }

    @Test func whatIsNoSnapshotHasItsOwn() async throws {
        for bytes in [[], Array("hello".utf8), [UInt8](repeating: 0, count: 10_000)] {
            let result = try await run(bytes)
            #expect(result.status == .notASnapshot && result.status.code == 8)
            #expect(result.out == "" && result.err.contains("hint: "))
        }
        let missing = try await run(nil)
        #expect(missing.status == .failure && missing.out == "" && missing.err.contains("no such file"))
    }
}

/// What a command has written, by descriptor.
private final class Printed: Sendable {
    private let lines = Monitor<[(Int32, String)]>([])
    func add(_ descriptor: Int32, _ text: String) { lines.withLock { $0.append((descriptor, text)) } }
    func text(_ descriptor: Int32) -> String {
        lines.withLock { $0.filter { $0.0 == descriptor }.map(\.1).joined() }
    }
}

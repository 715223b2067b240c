import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: limits of a snapshot's file")
struct SnapshotLimitTests {
    /// What no reader takes must not be written: it would be a snapshot that nobody can ever read.
    @Test func whatCouldNotBeReadIsNotWritten() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        try repository.store(PageSeries(pages: 60).bytes, as: "s0")
        let snapshot = try ResolvedSnapshot("s0", repository.core)
        func encoded(_ limits: SnapshotFile.Limits) -> FleetError.Code? {
            code {
                _ = try SnapshotFile.encode(
                    snapshot.head, map: snapshot.map, parent: nil, repository.core, limits: limits)
            }
        }
        #expect(encoded(.init()) == nil)
        var head = snapshot.head
        head.payload = [UInt8](repeating: 0, count: 5000)
        #expect(encoded(.init(record: 4000, runs: 4000)) == nil)
        #expect(encoded(.init(record: 4000, runs: 1)) == .limit)
        #expect(encoded(.init(record: 30, runs: 4000)) == .limit)
        #expect(
            code {
                _ = try SnapshotFile.encode(
                    head, map: snapshot.map, parent: nil, repository.core, limits: .init(record: 4000))
            } == .limit)
    }
}

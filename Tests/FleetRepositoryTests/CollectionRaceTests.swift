import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: collection beside everything else")
struct CollectionRaceTests {
    /// Does `body` once, when the collection is between two snapshots: at the first pack that it opens.
    private func collect(
        _ repository: Repository, _ files: HookedFiles,
        meanwhile body: @escaping @Sendable () throws(FleetError) -> Void
    ) throws -> CollectReport {
        let isDone = Monitor(false)
        files.onOpen { path throws(FleetError) in
            guard path.hasSuffix(".pack") else { return }
            files.onOpen(nil)
            try body()
            isDone.withLock { $0 = true }
        }
        let report = try repository.collect(dryRun: false)
        #expect(isDone.withLock { $0 })
        return report
    }

    /// Unchecked: the collection that it is filled in by runs on the test's own thread.
    private final class Begun: @unchecked Sendable {
        var upload: Upload?
    }

    private func prepared() throws -> (files: HookedFiles, repository: Repository, series: PageSeries) {
        let files = HookedFiles(PowerCutFiles())
        let repository = try Repository.test(files)
        // Looked at first, so that what happens meanwhile happens to those behind it.
        try repository.store(PageSeries(pages: 40, seed: 9).bytes, as: "a0", lineage: "other")
        var series = PageSeries(pages: 100)
        try repository.store(series.bytes, as: "s0")
        series.change(5)
        return (files, repository, series)
    }

    @Test func aSnapshotIsCommittedAndItsPredecessorDeleted() throws {
        let (files, repository, series) = try prepared()
        _ = try collect(repository, files) { () throws(FleetError) in
            let upload = try repository.begin("up", lineage: "a")
            try series.bytes.span.withUnsafeBytes { (bytes) throws(FleetError) in try upload.append(bytes) }
            try repository.commit(upload, as: "s1", payload: [])
            try repository.delete("s0")
        }
        #expect(try Repository.test(files).bytes("s1") == series.bytes)
        #expect(try Repository.test(files).check(readData: true).isSound)
    }

    @Test func anUploadBeginsAndItsPredecessorIsDeleted() throws {
        let (files, repository, series) = try prepared()
        let begun = Begun()
        let start = Array(series.bytes[..<100_000])
        _ = try collect(repository, files) { () throws(FleetError) in
            let upload = try repository.begin("up", lineage: "a")
            try start.span.withUnsafeBytes { (bytes) throws(FleetError) in try upload.append(bytes) }
            begun.upload = upload
            try repository.delete("s0")
        }
        let upload = try #require(begun.upload)
        try upload.append(series.bytes[100_000...])
        try repository.commit(upload, as: "s1", payload: [])
        #expect(try Repository.test(files).bytes("s1") == series.bytes)
        _ = try repository.collect(dryRun: false)
        #expect(try Repository.test(files).bytes("s1") == series.bytes)
    }

    /// What was deleted under the reader's eyes goes as well, and stops nothing.
    @Test func aSnapshotIsDeletedAndCollectedByAnother() throws {
        let (files, repository, _) = try prepared()
        _ = try collect(repository, files) { () throws(FleetError) in
            try repository.delete("s0")
            _ = try repository.collect(dryRun: false)
        }
        _ = try repository.collect(dryRun: false)
        #expect(try repository.statistics().packs == 1)
        #expect(try Repository.test(files).check(readData: true).isSound)
    }

    /// Packs and logs as they are while a record is being appended: half of it is there.
    @Test(arguments: [true, false])
    func aRecordThatIsBeingWrittenStays(_ dryRun: Bool) throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        let bytes = PageSeries(pages: 100).bytes
        let upload = try repository.begin("up", lineage: "a")
        try upload.append(bytes.prefix(200_000))
        upload.close()
        let log = files.bytes("/r/incoming/up")
        let file = try files.openAppending("/r/incoming/up")
        try file.truncate(to: Int64(log.count - 100))
        _ = try repository.collect(dryRun: dryRun)
        try file.append(Array(log.suffix(100)))
        #expect(files.bytes("/r/incoming/up") == log)
        let resumed = try Repository.test(files).begin("up", lineage: "a")
        #expect(resumed.length == 200_000)
    }
}

import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

/// The log of an upload that became a snapshot is still there: its removal failed, or a power cut took it back.
@Suite("Repository: a log that was left")
struct LeftoverLogTests {
    private struct Left {
        let files = PowerCutFiles()
        var series = PageSeries(pages: 100)
        let bytes: [UInt8]

        /// With its checkpoint well before the pack's end.
        init() throws {
            bytes = series.bytes
            let repository = try Repository.test(files)
            let upload = try repository.begin("up", lineage: "a")
            try upload.append(bytes.prefix(200_000))
            upload.close()
            let log = files.bytes("/r/incoming/up")
            let resumed = try repository.begin("up", lineage: "a")
            try resumed.append(bytes[200_000...])
            try repository.commit(resumed, as: "s0", payload: [])
            try files.writeDurably("/r/incoming/up", log)
        }
    }

    @Test func theCommittedPackStays() throws {
        let left = try Left()
        let repository = try Repository.test(left.files)
        let upload = try repository.begin("up", lineage: "a")
        #expect(upload.length == 0)
        try upload.append(left.bytes)
        try repository.commit(upload, as: "s1", payload: [])
        for id in ["s0", "s1"] { #expect(try Repository.test(left.files).bytes(id) == left.bytes) }
    }

    /// The snapshot is gone, and another lives on what came with it.
    @Test func thePackStaysForASuccessor() throws {
        var left = try Left()
        let repository = try Repository.test(left.files)
        left.series.change(5)
        try repository.store(left.series.bytes, as: "s1")
        try repository.delete("s0")
        #expect(try Repository.test(left.files).begin("up", lineage: "a").length == 0)
        try Repository.test(left.files).discard("up")
        #expect(try Repository.test(left.files).bytes("s1") == left.series.bytes)
    }

    /// Whether it was committed can't be known: it may be the one that can't be read.
    @Test func thePackStaysForASnapshotThatCanNotBeRead() throws {
        let left = try Left()
        left.files.flip("/r/snapshots/s0", byte: 60, bit: 3)
        let repository = try Repository.test(left.files)
        try repository.recover()
        #expect(try repository.begin("up", lineage: "a").length == 0)
        try repository.discard("up")
        left.files.flip("/r/snapshots/s0", byte: 60, bit: 3)
        #expect(try Repository.test(left.files).bytes("s0") == left.bytes)
    }

    /// Other uploads go on beside a damaged snapshot: of their packs nothing would be cut off.
    @Test func anUploadGoesOnBesideADamagedSnapshot() throws {
        let files = PowerCutFiles()
        let repository = try Repository.test(files)
        try repository.store(PageSeries(pages: 3).bytes, as: "s0")
        let bytes = PageSeries(pages: 100, seed: 2).bytes
        let upload = try repository.begin("up", lineage: "b")
        try upload.append(bytes.prefix(200_000))
        upload.close()
        files.flip("/r/snapshots/s0", byte: 60, bit: 3)
        let again = try Repository.test(files)
        let resumed = try again.begin("up", lineage: "b")
        #expect(resumed.length == 200_000)
        try resumed.append(bytes[200_000...])
        try again.commit(resumed, as: "t0", payload: [])
        #expect(try Repository.test(files).bytes("t0") == bytes)
    }

    /// Nor does a file that can't be opened, whatever the reason.
    @Test func anUploadGoesOnBesideAFileThatCanNotBeOpened() throws {
        let files = HookedFiles(PowerCutFiles())
        let repository = try Repository.test(files)
        try repository.store(PageSeries(pages: 3).bytes, as: "s0", lineage: "other")
        let upload = try repository.begin("up", lineage: "a")
        try upload.append(PageSeries(pages: 100).bytes.prefix(200_000))
        upload.close()
        let again = try Repository.test(files)
        files.onOpen { path throws(FleetError) in
            if path == "/r/snapshots/s0" { throw FleetError(.system, "open \(path): too many open files") }
        }
        #expect(try again.begin("up", lineage: "a").length == 200_000)
    }
}

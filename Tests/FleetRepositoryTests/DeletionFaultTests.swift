import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

@Suite("Repository: deletion where files can't be read")
struct DeletionFaultTests {
    /// Three that build on each other.
    private func chain(_ files: any RepositoryFiles) throws -> [String: [UInt8]] {
        let repository = try Repository.test(files)
        var (series, stored) = (PageSeries(pages: 30), [String: [UInt8]]())
        for id in ["s0", "s1", "s2"] {
            try repository.store(series.bytes, as: id)
            stored[id] = series.bytes
            series.change(3)
        }
        return stored
    }

    /// Each opening in turn fails once, as with too many open files: the deletion is done or it is not, and the others
    /// stay what they are.
    @Test(arguments: ["s0", "s1"], [false, true])
    func anOpeningFails(_ victim: String, _ knowsHeads: Bool) throws {
        var (turn, failed) = (0, true)
        while failed {
            turn += 1
            let files = HookedFiles(PowerCutFiles())
            let stored = try chain(files)
            let repository = try Repository.test(files)
            if knowsHeads { _ = try repository.collect(dryRun: true) }
            let (count, wanted) = (Monitor(0), turn)
            files.onOpen { path throws(FleetError) in
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                if number == wanted { throw FleetError(.system, "open \(path): too many open files") }
            }
            let outcome = code { try repository.delete(victim) }
            files.onOpen(nil)
            failed = count.withLock { $0 } >= turn
            #expect(outcome == nil || outcome == .system)
            let again = try Repository.test(files)
            for (id, bytes) in stored where id != victim || outcome != nil {
                #expect(try again.bytes(id) == bytes, "\(id), opening \(turn)")
            }
            #expect(try again.ids().contains(victim) == (outcome != nil))
            try again.delete(victim)
            #expect(try again.ids().count == 2)
            #expect(turn < 50)
        }
        #expect(turn > 3)
    }

    /// Head or map: put back from a copy, it is read again, since what it builds on was kept for it.
    @Test(arguments: [false, true], [60, -1])
    func aDamagedSuccessorKeepsItsPredecessor(_ knowsHeads: Bool, _ byte: Int) throws {
        let files = PowerCutFiles()
        let stored = try chain(files)
        let repository = try Repository.test(files)
        if knowsHeads { _ = try repository.collect(dryRun: true) }
        let place = byte < 0 ? files.length("/r/snapshots/s1") + byte : byte
        files.flip("/r/snapshots/s1", byte: place, bit: 3)
        #expect(code { try repository.delete("s0") } == .snapshotDamaged)
        files.flip("/r/snapshots/s1", byte: place, bit: 3)
        for (id, bytes) in stored { #expect(try Repository.test(files).bytes(id) == bytes) }
        try repository.delete("s0")
        for (id, bytes) in stored where id != "s0" { #expect(try Repository.test(files).bytes(id) == bytes) }
    }

    /// The way out without a copy: what is damaged can go, however many are, and then the rest can.
    @Test func whatIsDamagedCanBeDeleted() throws {
        let files = PowerCutFiles()
        _ = try chain(files)
        for id in ["s0", "s1"] { files.flip("/r/snapshots/\(id)", byte: 60, bit: 3) }
        let repository = try Repository.test(files)
        let error = #expect(throws: FleetError.self) { try repository.delete("s2") }
        #expect(error?.code == .snapshotDamaged && error?.hint?.contains("delete it") == true)
        for id in ["s0", "s1", "s2"] { try repository.delete(id) }
        _ = try repository.collect(dryRun: false)
        #expect(files.paths() == ["/r/config"])
    }
}

import FleetSystem
import RepositoryTestFiles
import Testing

@testable import FleetRepository

/// A deletion at any moment of a check neither makes damage up nor hides it.
@Suite("Repository: check beside a deletion", .timeLimit(.minutes(5)))
struct CheckRaceTests {
    /// Four that build on each other. `last` gets pages of its own.
    private func chain(_ files: any RepositoryFiles) throws -> Repository {
        let repository = try Repository.test(files)
        var series = PageSeries(pages: 12)
        for id in ["s0", "s1", "s2", "s3"] {
            try repository.store(series.bytes, as: id)
            series.change(4)
        }
        return repository
    }

    /// Deletes `victim` at each opening of a check in turn.
    private func check(
        without victim: String, _ prepare: (PowerCutFiles, Repository) throws -> Void,
        _ judge: (CheckReport, Int) throws -> Void
    ) throws {
        var (turn, isReached) = (0, true)
        while isReached {
            turn += 1
            let inner = PowerCutFiles()
            let files = HookedFiles(inner)
            try prepare(inner, try chain(files))
            let repository = try Repository.test(files)
            let (count, wanted) = (Monitor(0), turn)
            let isDone = Monitor(false)
            // Of a thread of its own, as a deletion is: where the check holds the lock it comes when that is free.
            files.onOpen { path throws(FleetError) in
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                guard number == wanted else { return }
                files.onOpen(nil)
                Thread.start(name: "deletion") {
                    do { try repository.delete(victim) } catch { Issue.record(error, "opening \(wanted)") }
                    isDone.withLock { $0 = true }
                    isDone.broadcast()
                }
                _ = isSet(isDone, within: 50)
            }
            let report = try repository.check(readData: true)
            isReached = count.withLock { $0 } >= turn
            files.onOpen(nil)
            if isReached {
                #expect(isDone.waiting(seconds: 20, until: \.self) { _, isReady in isReady })
                #expect(try !repository.ids().contains(victim))
            }
            try judge(report, turn)
            #expect(turn < 100)
        }
        #expect(turn > 8)
    }

    @Test(arguments: ["s0", "s1", "s2"])
    func nothingSoundIsCalledDamaged(_ victim: String) throws {
        try check(without: victim) { _, _ in
        } _: { report, turn in
            #expect(report.findings == [], "opening \(turn)")
        }
    }

    @Test(arguments: ["s0", "s1"])
    func whatIsDamagedIsNamed(_ victim: String) throws {
        try check(without: victim) { files, repository in
            let own = try #require(try repository.head("s3").own)
            files.flip(repository.core.path(own), byte: 40, bit: 2)
        } _: { report, turn in
            #expect(report.damagedSnapshots == ["s3"], "opening \(turn)")
            #expect(report.findings.count == 1, "opening \(turn)")
        }
    }

    /// What was lost before is still told from what is deleted now.
    @Test func aLostFileIsStillALoss() throws {
        try check(without: "s0") { files, _ in
            try files.remove("/r/snapshots/s2")
        } _: { report, turn in
            #expect(report.findings.map(\.path) == ["/r/snapshots/s2"], "opening \(turn)")
            #expect(report.damagedSnapshots == ["s3"], "opening \(turn)")
        }
    }
}

/// Polls: `Monitor.waiting` counts in seconds.
private func isSet(_ flag: Monitor<Bool>, within milliseconds: Int) -> Bool {
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    while ContinuousClock.now < end { if flag.withLock({ $0 }) { return true } }
    return false
}

import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

@Suite struct JournalTests {
    private let records: [RestoreEntry] = [
        .started(.fetch), .done(.fetch, note: "x\ny"), .failed(.preflight, FleetError(.noSpace, "full", hint: "h")),
        .concluded(.failed),
    ]

    private func write(_ path: String) throws -> [UInt8] {
        let journal = try Journal<RestoreEntry>(path)
        #expect(journal.recovered.isEmpty)
        for record in records { try journal.append(record) }
        return try FileSystem.read(path)
    }

    @Test func keepsRecords() throws {
        let tree = try NodeTree()
        _ = try write(tree.root + "/j")
        #expect(try Journal<RestoreEntry>.records(tree.root + "/j") == records)
    }

    /// Cut off at any byte, it holds the whole records before, and goes on after them.
    @Test func tornTail() throws {
        let tree = try NodeTree()
        let path = tree.root + "/j"
        let bytes = try write(path)
        var ends: [Int] = []
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") { ends.append(index + 1) }
        for length in 0..<bytes.count {
            try FileSystem.writeDurably(path, bytes[..<length])
            let whole = ends.count { $0 <= length }
            do {
                let journal = try Journal<RestoreEntry>(path)
                #expect(journal.recovered == Array(records[..<whole]))
                try journal.append(.started(.verify))
            }
            #expect(try Journal<RestoreEntry>.records(path) == records[..<whole] + [.started(.verify)])
        }
    }

    @Test func damageIsSaid() throws {
        let tree = try NodeTree()
        let path = tree.root + "/j"
        let bytes = try write(path)
        let last = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n"))!
        for index in stride(from: 0, to: last, by: 3) {
            var damaged = bytes
            damaged[index] ^= 0x04
            try FileSystem.writeDurably(path, damaged)
            let error = #expect(throws: FleetError.self) { try Journal<RestoreEntry>.records(path) }
            #expect(error?.code == .journalDamaged)
        }
    }

    /// A step that a newer agent has written down is not one that was cut off: the journal stays as it is.
    @Test func aLastRecordThatIsNotKnownStays() throws {
        struct Newer: Codable, Sendable { var evicted: [String: String] }
        let tree = try NodeTree()
        let path = tree.root + "/j"
        let bytes = try write(path) + (try Journal<Newer>.line(Newer(evicted: ["_0": "fetch"])))
        try FileSystem.writeDurably(path, bytes)
        let error = #expect(throws: FleetError.self) { try Journal<RestoreEntry>(path) }
        #expect(error?.code == .journalDamaged && error?.hint?.contains("newer agent") == true)
        #expect(try FileSystem.read(path) == bytes)
    }

    /// A real file system of a few pages that is really full, then has space again.
    private func onTinyDisk(_ body: (_ directory: String, _ filler: String) async throws -> Void) async throws {
        let tree = try NodeTree()
        guard mount("tmpfs", tree.root, "tmpfs", 0, "size=64k,mode=0700") == 0 else {
            try Test.cancel("mounting a tmpfs is refused here (\(String(cString: strerror(errno))))")
        }
        defer { umount2(tree.root, Int32(MNT_DETACH)) }
        let filler = tree.root + "/filler"
        try FileSystem.writeDurably(filler, [UInt8](repeating: 1, count: 40 << 10))
        try await body(tree.root, filler)
    }

    /// Appends until nothing more fits; how many did.
    private func fill(_ journal: Journal<RestoreEntry>, _ record: RestoreEntry) -> Int {
        for count in 0..<10_000 {
            do throws(FleetError) { try journal.append(record) } catch {
                #expect(error.code == .noSpace)
                return count
            }
        }
        Issue.record("the disk is never full")
        return 0
    }

    @Test func aFullDiskLeavesNoTornRecord() async throws {
        try await onTinyDisk { directory, filler in
            let path = directory + "/j"
            let journal = try Journal<RestoreEntry>(path)
            let count = fill(journal, records[2])
            #expect(count > 10)
            #expect(throws: FleetError.self) { try journal.append(records[2]) }
            #expect(try Journal<RestoreEntry>.records(path).count == count)
            try FileSystem.remove(filler)
            try journal.append(.started(.verify))
            #expect(try Journal<RestoreEntry>.records(path).dropFirst(count) == [.started(.verify)])
        }
    }

    /// A step that was done while its `done` could not be written is not a step that failed.
    @Test func aFullDiskIsNotAFailureOfTheStep() async throws {
        try await onTinyDisk { directory, filler in
            struct Filler: CoordinatorPort {
                var fill: @Sendable () -> Void
                func upload(job: String, snapshot: String, facts: SnapshotFacts, file: String) async {}
                func fetch(job: String, snapshot: SnapshotRecord, to path: String) async { fill() }
                func fetch(job: String, program: ProgramRecord, to path: String) async {}
            }
            let tree = try NodeTree(Layouts.kubespray)
            let restore = FleetProtocol.Operation.Restore(
                snapshot: RestorePlannerTests.record, dryRun: false, waitSeconds: 10)
            let job = Job(
                id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(3600)),
                operation: .restore(restore))
            var work = try RestorePlanner.plan(try tree.discover(), restore, job: job)
            work.snapshot.size = 1
            let boot = BootIdentity(bootID: "b", firstProcessStart: 1)
            let journal = try Journal<RestoreEntry>(directory + "/j")
            let driver = RestoreDriver(
                journal: journal, steps: RestoreSteps(work: work, paths: AgentPaths(state: tree.root + "/state")),
                port: Filler { _ = fill(journal, .done(.fetch, note: nil)) }, faults: .none,
                decisions: DecisionBox(), report: { _, _, _, _ in }, waits: { _, _, _ in true })
            let error = await #expect(throws: FleetError.self) {
                var machine = RestoreMachine(steps: work.steps, boot: boot)
                _ = try await driver.run(&machine)
            }
            #expect(error?.code == .noSpace)
            let there = try Journal<RestoreEntry>.records(directory + "/j")
            #expect(there.first == .started(.fetch))
            #expect(there.dropFirst().allSatisfy { $0 == .done(.fetch, note: nil) })
        }
    }
}

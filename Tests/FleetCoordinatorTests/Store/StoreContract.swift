import FleetProtocol
import FleetRepository
import FleetSystem
import Testing

@testable import FleetCoordinator

/// What every store promises. `make` opens a store on the same place each time: a reopening is a new process.
struct StoreContract<Store: SnapshotStore> {
    let make: () throws -> Store

    func check() async throws {
        try await whatIsCommittedComesBack()
        try await incomingIsInvisibleAndResumes()
        try await oneWriterPerKey()
        try await namesAreNoPaths()
        try await nothingIsOverwritten()
        try await deletionIsFinal()
        try await discardingForgets()
    }

    private func whatIsCommittedComesBack() async throws {
        let store = try make()
        let sample = SampleSnapshot("20261124-065510-aaaa")
        try store.store(sample)
        for store in [store, try make()] {
            #expect(try store.list() == StoreListing(records: [sample.record]))
            #expect(try store.ids() == [sample.record.id])
            #expect(try store.bytes(sample.record.id) == sample.bytes)
            #expect(try store.verify(sample.record.id).isSound)
            #expect(try store.incoming().isEmpty)
        }
        let stored = try store.open(sample.record.id)
        var some = [UInt8](repeating: 0, count: 7)
        #expect(try some.withUnsafeMutableBytes { try stored.read(at: 100, into: $0) } == 7)
        #expect(some == Array(sample.bytes[100..<107]))
        #expect(try some.withUnsafeMutableBytes { try stored.read(at: sample.record.size, into: $0) } == 0)
        let directory = try TemporaryDirectory()
        let file = try TargetFile(for: directory.path + "/a.db")
        let digest = try stored.write(to: file)
        try file.publish()
        #expect(digest.hex == sample.record.sha256)
        #expect(try FileSystem.read(directory.path + "/a.db") == sample.bytes)
        #expect(try store.freeSpace() > 0)
    }

    private func incomingIsInvisibleAndResumes() async throws {
        let before = try make().list()
        let sample = SampleSnapshot("20261124-065511-bbbb", seed: 2)
        let first = try make().begin("resumed")
        #expect(first.length == 0)
        try first.append(sample.bytes[..<700])
        first.close()
        let store = try make()
        #expect(try store.recover().isEmpty)
        #expect(try store.list() == before)
        #expect(try store.incoming() == ["resumed"])
        #expect(await code { _ = try store.open(sample.record.id) } == .notFound)
        let second = try store.begin("resumed")
        #expect(second.length == 700)
        #expect(try second.allBytes() == Array(sample.bytes[..<700]))
        #expect(await code { try second.commit(sample.record) } == .snapshotDamaged)
        try second.append(sample.bytes[700...])
        try second.commit(sample.record)
        #expect(try store.bytes(sample.record.id) == sample.bytes)
        #expect(await code { try second.append([1]) } == .cancelled)
    }

    private func oneWriterPerKey() async throws {
        let store = try make()
        let first = try store.begin("taken")
        try first.append([1, 2, 3])
        let second = try store.begin("taken")
        #expect(second.length == 3)
        #expect(await code { try first.append([4]) } == .cancelled)
        try second.append([5])
        #expect(try second.allBytes() == [1, 2, 3, 5])
        #expect(await code { try first.discard(isUnreadable: false) } == .cancelled)
        #expect(try second.allBytes() == [1, 2, 3, 5])
        try store.discard("taken")
        #expect(await code { try second.append([6]) } == .cancelled)
        let third = try store.begin("taken")
        try third.append([7])
        try third.discard(isUnreadable: false)
        #expect(try store.incoming().isEmpty)
        #expect(await code { try third.append([8]) } == .cancelled)
    }

    private func namesAreNoPaths() async throws {
        let store = try make()
        for name in ["", "../x", "a/b", ".", "..", "A", "-a", "a\0b", String(repeating: "a", count: 65)] {
            #expect(await code { _ = try store.begin(name) } == .malformed)
            #expect(await code { _ = try store.open(name) } == .malformed)
            #expect(await code { try store.delete(name) } == .malformed)
            #expect(await code { try store.discard(name) } == .malformed)
            #expect(await code { _ = try store.verify(name) } == .malformed)
        }
        let incoming = try store.begin("fine")
        #expect(await code { try incoming.commit(SampleSnapshot("../evil", pages: 0).record) } != nil)
        try store.discard("fine")
    }

    private func nothingIsOverwritten() async throws {
        let store = try make()
        let sample = SampleSnapshot("20261124-065512-cccc", seed: 3)
        try store.store(sample)
        let other = SampleSnapshot("20261124-065512-cccc", seed: 4)
        #expect(await code { try store.store(other, key: "other") } == .alreadyExists)
        #expect(try store.bytes(sample.record.id) == sample.bytes)
        try store.discard("other")
    }

    private func deletionIsFinal() async throws {
        let store = try make()
        let sample = SampleSnapshot("20261124-065513-dddd", seed: 5)
        try store.store(sample)
        try store.delete(sample.record.id)
        try store.delete(sample.record.id)
        #expect(try !store.ids().contains(sample.record.id))
        #expect(await code { _ = try store.open(sample.record.id) } == .notFound)
        #expect(await code { _ = try store.verify(sample.record.id) } == .notFound)
        #expect(try !make().list().records.contains(sample.record))
    }

    private func discardingForgets() async throws {
        let store = try make()
        let incoming = try store.begin("gone")
        try incoming.append([1, 2, 3])
        incoming.close()
        try store.discard("gone")
        try store.discard("gone")
        #expect(try store.begin("gone").length == 0)
        try store.discard("gone")
        #expect(try make().incoming().isEmpty)
    }
}

import EtcdSampleFiles
import EtcdSnapshot
import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Whether a snapshot can be what became of another one.
@Suite("Lineage of snapshots")
struct LineageTests {
    /// As the coordinator stores it, by its own look at the pages.
    private func record(_ etcd: SampleEtcd) throws -> SnapshotRecord {
        var sample = try SampleSnapshot(etcd: "20261124-065510-aaaa", etcd)
        sample.record.facts.liveKeys = nil
        sample.record.verification = try NativeCheck.verify(
            MemoryPages(sample.bytes), trailer: SHA256.hash(sample.bytes.dropLast(32)), facts: sample.record.facts)
        try #require(sample.record.verification?.isSound == true)
        return sample.record
    }

    private func compare(_ one: SampleEtcd, _ other: SampleEtcd) throws -> Lineage.Verdict {
        let (a, b) = (try record(one), try record(other))
        let verdict = Lineage.compare(a, b)
        if a.facts.status.revision != b.facts.status.revision { #expect(Lineage.compare(b, a) == verdict) }
        return verdict
    }

    /// Writes and deletes keys, old ones and new ones.
    private func goOn(_ etcd: inout SampleEtcd, _ alive: inout Set<Int>, _ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...30, using: &random) {
            let key = Int.random(in: 0..<40, using: &random)
            if alive.contains(key), Int.random(in: 0..<3, using: &random) == 0 {
                etcd.delete("/registry/k-\(key)")
                alive.remove(key)
            } else {
                etcd.put("/registry/k-\(key)", [UInt8(key)])
                alive.insert(key)
            }
        }
    }

    /// Whatever is written and deleted between two snapshots of one etcd, they are never taken for two.
    @Test func oneHistoryIsNeverTwo() throws {
        var consistent = 0
        for seed in 1...40 {
            var random = SeededGenerator(state: UInt64(seed))
            var (etcd, alive) = (SampleEtcd(), Set<Int>())
            var records: [SnapshotRecord] = []
            for _ in 0..<6 {
                goOn(&etcd, &alive, &random)
                if seed % 10 == 0, records.count == 3 { etcd.bump(by: 1000) }
                records.append(try record(etcd))
            }
            for (i, one) in records.enumerated() {
                for other in records[i...] {
                    let verdict = Lineage.compare(one, other)
                    #expect(verdict != .isAnother, "seed \(seed)")
                    if verdict == .isConsistent { consistent += 1 }
                }
            }
        }
        // Most can be compared, so that this says something.
        #expect(consistent > 400)
    }

    /// Up to 3.5.15 the deletion at the compacted revision goes too: the younger one's last entry is older than the elder's.
    @Test func aCompactedDeletionIsOneHistory() throws {
        var etcd = SampleEtcd()
        for key in ["a", "b", "c"] { etcd.put(key, [1]) }
        etcd.put("a", [2])
        let elder = try record(etcd)
        // "a" is gone, and so is what told of that.
        var without = SampleEtcd()
        without.put("gone", [1])
        for key in ["b", "c"] { without.put(key, [1]) }
        var younger = try record(without)
        younger.verification?.compactRevision = elder.newestRevision + 1
        younger.verification?.oldestKeys = elder.verification?.oldestKeys.map { oldest in
            var oldest = oldest
            oldest.births.removeFirst()
            return oldest
        }
        #expect(younger.facts.status.revision < elder.facts.status.revision)
        #expect(Lineage.compare(elder, younger) == .isConsistent && Lineage.compare(younger, elder) == .isConsistent)
    }

    @Test func anotherHistoryShows() throws {
        var (found, count) = (0, 0)
        for seed in 1...20 {
            var random = SeededGenerator(state: UInt64(seed) << 20)
            var (own, alive) = (SampleEtcd(), Set<Int>())
            for _ in 0..<3 { goOn(&own, &alive, &random) }
            var (anew, others) = (SampleEtcd(), Set<Int>())
            for _ in 0..<6 { goOn(&anew, &others, &random) }
            count += 1
            if try compare(own, anew) == .isAnother { found += 1 }
        }
        #expect(found >= count - 2, "\(found) of \(count)")
        // The same keys, in another order.
        var (one, other) = (SampleEtcd(), SampleEtcd())
        for key in ["a", "b", "c", "d"] { one.put(key, [1]) }
        for key in ["a", "c", "b", "d"] { other.put(key, [1]) }
        #expect(try compare(one, other) == .isAnother)
    }

    @Test func whatTellsNothingIsUnknown() throws {
        var etcd = SampleEtcd()
        for key in ["a", "b", "c"] { etcd.put(key, [1]) }
        let one = try record(etcd)
        var old = one
        old.verification?.oldestKeys = nil
        #expect(Lineage.compare(one, old) == .isUnknown && Lineage.compare(old, one) == .isUnknown)
        old.verification = nil
        #expect(Lineage.compare(one, old) == .isUnknown)
        var unsound = one
        unsound.verification?.totalFindings = 1
        #expect(Lineage.compare(one, unsound) == .isUnknown)
        for key in ["a", "b", "c"] { etcd.delete(key) }
        etcd.put("d", [1])
        #expect(Lineage.compare(one, try record(etcd)) == .isUnknown)
        // A copy that was restored by hand has the oldest keys too: this it can't tell.
        var copy = SampleEtcd()
        for key in ["a", "b", "x"] { copy.put(key, [1]) }
        etcd = copy
        copy.put("y", [1])
        etcd.put("z", [1])
        etcd.put("z", [2])
        #expect(try compare(etcd, copy) == .isConsistent)
    }

    @Test func theOldestAreFew() throws {
        var etcd = SampleEtcd()
        for i in 0..<100 { etcd.put("k-\(i)", [1]) }
        for i in 0..<100 where i % 2 == 0 { etcd.put("k-\(i)", [2]) }
        etcd.delete("k-0")
        let oldest = try #require(try record(etcd).verification?.oldestKeys)
        #expect(oldest.births.map(\.revision) == Array(3...18) && oldest.through == 18)
        #expect(oldest.births[0].key == SHA256.hash(Array("k-1".utf8)).prefix(4).hex)
        let text = String(decoding: try JSON.encode(oldest), as: UTF8.self)
        #expect(text.contains("\"3-\(oldest.births[0].key)\"") && text.utf8.count < 400)
        #expect(try JSON.decode(SnapshotVerification.OldestKeys.self, from: Array(text.utf8)) == oldest)
    }
}

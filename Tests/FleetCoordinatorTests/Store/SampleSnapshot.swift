import EtcdSampleFiles
import EtcdSnapshot
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem

@testable import FleetCoordinator

/// Bytes with the shape of a snapshot: pages, then their SHA-256.
struct SampleSnapshot: Sendable {
    var bytes: [UInt8]
    var record: SnapshotRecord

    init(_ id: String, pages: Int = 3, seed: UInt8 = 1, job: String = "j", cluster: String = "a") {
        // No two pages alike, and of no other snapshot's, so that each has something to store.
        let body = (0..<pages * 512).map { UInt8(truncatingIfNeeded: ($0 >> 9 &* 7 &+ $0) &* 31 &+ Int(seed)) }
        bytes = body + SHA256.hash(body)
        record = Fixture.record(
            id, cluster: cluster, job: job, size: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
    }

    /// What an etcd might have saved, and what its tools would say of it.
    init(
        etcd id: String, _ sample: SampleEtcd = .rich(), compacted: UInt64? = nil, job: String = "j",
        cluster: String = "a"
    ) throws {
        let body = sample.build(compacted: compacted)
        try self.init(etcd: id, bytes: body + SHA256.hash(body), job: job, cluster: cluster)
    }

    init(etcd id: String, bytes: [UInt8], job: String = "j", cluster: String = "a") throws {
        self.bytes = bytes
        record = Fixture.record(
            id, cluster: cluster, job: job, size: Int64(bytes.count), sha256: SHA256.hash(bytes).hex)
        let report = try SnapshotReader(MemoryPages(bytes)).report()
        record.facts.status = SnapshotStatus(
            hash: report.hash, revision: report.revision, totalKey: report.totalKey, totalSize: report.totalSize)
        record.facts.liveKeys = report.liveKeys
    }

    var digest: StreamDigest { StreamDigest(length: record.size, sha256: record.sha256) }
}

extension IncomingSnapshot {
    func append(_ bytes: some Collection<UInt8>) throws(FleetError) {
        let result: Result<Void, FleetError> = Array(bytes).withUnsafeBytes { bytes in
            do throws(FleetError) { return .success(try append(bytes)) } catch { return .failure(error) }
        }
        try result.get()
    }

    func allBytes() throws -> [UInt8] {
        var all: [UInt8] = []
        try readBack { bytes throws(FleetError) in all += bytes }
        return all
    }
}

extension RepositoryStore {
    static let testKey = RepositoryKey.random(.master)

    /// A repository in memory or on the disk; made if it is not there.
    static func test(_ root: String, files: any RepositoryFiles = SystemRepositoryFiles()) throws -> RepositoryStore {
        if try files.size(root + "/config") == nil {
            _ = try Repository.create(root, files: files, master: testKey)
        }
        return RepositoryStore(try Repository(root, files: files, key: testKey))
    }
}

extension SnapshotStore {
    /// Without a word of where it comes from.
    func begin(_ key: String) throws -> any IncomingSnapshot { try begin(key, cluster: "a", node: "n1") }

    func store(_ sample: SampleSnapshot, key: String = "up") throws {
        let incoming = try begin(key)
        try incoming.append(sample.bytes[Int(incoming.length)...])
        try incoming.commit(sample.record)
    }

    func bytes(_ id: String) throws -> [UInt8] {
        let stored = try open(id)
        var buffer = [UInt8](repeating: 0, count: Int(stored.record.size) + 10)
        let count = try buffer.withUnsafeMutableBytes { try stored.read(at: 0, into: $0) }
        return Array(buffer[..<count])
    }
}

import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem

/// Both digests of a snapshot in one pass: of the whole file, and of all but the last 32 bytes, which etcd appends as
/// the SHA-256 of what precedes them (facts: etcd's Maintenance.Snapshot; `etcdctl snapshot save` never compares it).
final class SnapshotHasher {
    struct Result: Sendable, Equatable {
        var length: Int64
        /// Of the whole file, lower-case hexadecimal.
        var sha256: String
        /// What stands at the end of the file, and what it should be.
        var trailer: [UInt8]
        var trailerComputed: [UInt8]
    }

    static let trailerLength = 32

    private var body = SHA256()
    /// The last bytes so far, at most 32: they may be the trailer, so they are hashed only when more follows.
    private var tail: [UInt8] = []
    private(set) var length: Int64 = 0

    func update(_ bytes: UnsafeRawBufferPointer) {
        length += Int64(bytes.count)
        if bytes.count >= Self.trailerLength {
            body.update(tail)
            let split = bytes.count - Self.trailerLength
            body.update(UnsafeRawBufferPointer(rebasing: bytes[..<split]))
            tail = [UInt8](bytes[split...])
        } else {
            tail += bytes
            let surplus = tail.count - Self.trailerLength
            if surplus > 0 {
                body.update(tail[..<surplus])
                tail.removeFirst(surplus)
            }
        }
    }

    /// Ends it: the tail goes into the digest, so nothing can be fed afterwards.
    func result() -> Result {
        let trailerComputed = body.current()
        body.update(tail)
        return Result(length: length, sha256: body.current().hex, trailer: tail, trailerComputed: trailerComputed)
    }
}

/// Whether bytes are the whole of what they should be. Pure.
enum SnapshotShape {
    /// What is not as it was saved: damage on the way or at rest. None where `result` is the file that was announced.
    static func findings(_ result: SnapshotHasher.Result, length: Int64, sha256: String) -> [FleetError] {
        var findings: [FleetError] = []
        if result.length != length { findings.append(found("the file has \(result.length) bytes and not \(length)")) }
        if result.sha256 != sha256 {
            findings.append(found("the SHA-256 is \(result.sha256) and not \(Act.clip(sha256, 64))"))
        }
        return findings
    }

    /// Of a stored snapshot. What was wrong with it when it came is in its record, and no damage now.
    static func findings(_ result: SnapshotHasher.Result, of record: SnapshotRecord) -> [FleetError] {
        let findings = findings(result, length: record.size, sha256: record.sha256)
        guard record.verification == nil else { return findings }
        // Stored before coordinators read what they store: then its own digest and etcd's tool are all there is.
        return findings + oldFindings(result, record)
    }

    /// Sizes: the database is whole pages, a multiple of 512, and 32 bytes of digest follow. `snapshot status` counts
    /// all pages up to the high-water mark, and the server sends exactly these, so the file is 32 bytes longer (seen
    /// with etcd 3.4 and 3.5).
    private static func oldFindings(_ result: SnapshotHasher.Result, _ record: SnapshotRecord) -> [FleetError] {
        var findings: [FleetError] = []
        if result.length % 512 != Int64(SnapshotHasher.trailerLength) {
            findings.append(
                found("the length \(result.length) is not that of a snapshot with its digest: it was cut, or is none"))
        } else if result.trailer != result.trailerComputed {
            findings.append(found("etcd's own SHA-256 at the end of the file does not match its content"))
        }
        // Wrapping: both numbers come from outside, a manifest included.
        let counted = record.facts.status.totalSize
        if counted &+ Int64(SnapshotHasher.trailerLength) != record.size {
            findings.append(found("etcd's tool counted a database of \(counted) bytes in a file of \(record.size)"))
        }
        return findings
    }

    private static func found(_ message: String) -> FleetError {
        FleetError(.snapshotDamaged, message, hint: "this copy is of no use; make another backup")
    }
}

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

/// What makes a file a whole snapshot. Pure.
enum SnapshotShape {
    /// Findings; none where `result` is the file that `record` describes and etcd's own digest holds.
    ///
    /// Sizes: the database is whole pages, a multiple of 512, and 32 bytes of digest follow. `snapshot status` counts
    /// all pages up to the high-water mark, and the server sends exactly these, so the file is 32 bytes longer (seen
    /// with etcd 3.4 and 3.5).
    static func findings(
        _ result: SnapshotHasher.Result, length: Int64, sha256: String, facts: SnapshotFacts
    ) -> [FleetError] {
        var findings: [FleetError] = []
        func found(_ message: String) {
            findings.append(
                FleetError(.snapshotDamaged, message, hint: "this copy is of no use; make another backup"))
        }
        if result.length != length { found("the file has \(result.length) bytes and not \(length)") }
        if facts.size != length { found("the file has \(length) bytes, its agent saved \(facts.size)") }
        if result.sha256 != sha256 { found("the SHA-256 is \(result.sha256) and not \(Act.clip(sha256, 64))") }
        if result.length % 512 != Int64(SnapshotHasher.trailerLength) {
            found(
                "the length \(result.length) is not that of a snapshot with its digest: it was cut, or is no snapshot")
        } else if result.trailer != result.trailerComputed {
            found("etcd's own SHA-256 at the end of the file does not match its content")
        }
        // Wrapping: both numbers come from outside, a manifest included.
        if facts.status.totalSize &+ Int64(SnapshotHasher.trailerLength) != length {
            found("etcd's tool counted a database of \(facts.status.totalSize) bytes in a file of \(length)")
        }
        return findings
    }
}

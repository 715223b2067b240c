internal import FleetCrypto
internal import FleetSystem
private import Glibc

/// A snapshot as a file: pages of the database, then the SHA-256 of all before it (facts: etcd's `snapshot save`
/// writes that digest and never compares it).
struct SnapshotFile: Sendable, Equatable {
    var size: Int64
    /// Of the whole file, lower-case hexadecimal.
    var sha256: String

    /// Reads it all, once.
    ///
    /// - Throws: `bad-snapshot` for a length that no snapshot has and for a digest that is not that of the content.
    static func check(_ path: String) throws(FleetError) -> SnapshotFile {
        guard let size = try FileSystem.status(path)?.size else {
            throw FleetError(.notFound, "\(path) does not exist", hint: "save or fetch the snapshot again")
        }
        func bad(_ reason: String) -> FleetError {
            FleetError(
                .badSnapshot, "\(path) \(reason)", hint: "save or fetch it again; this file must not be restored")
        }
        // bbolt's pages are multiples of 512; etcd itself refuses to save anything else since 3.4.8.
        guard size > 32, size % 512 == 32 else { throw bad("is cut off: \(size) bytes is no length of a snapshot") }
        let file = try Descriptor.open(path, O_RDONLY)
        var hasher = SHA256()
        var left = size - 32
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while left > 0 {
            if left < Int64(chunk.count) { chunk = Array(repeating: 0, count: Int(left)) }
            let count = try file.read(into: &chunk)
            guard count > 0 else { throw bad("was cut off while it was read") }
            hasher.update(chunk[..<count])
            left -= Int64(count)
        }
        let content = hasher.current()
        var trailer: [UInt8] = []
        while trailer.count < 32 {
            var rest = [UInt8](repeating: 0, count: 32 - trailer.count)
            let count = try file.read(into: &rest)
            guard count > 0 else { throw bad("was cut off while it was read") }
            trailer += rest[..<count]
        }
        guard trailer == content else { throw bad("is damaged: its content does not have the digest at its end") }
        hasher.update(trailer)
        return SnapshotFile(size: size, sha256: hasher.finalize().hex)
    }
}

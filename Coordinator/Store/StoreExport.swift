import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem
private import Glibc

/// A stored snapshot as a file of its own.
enum StoreExport {
    /// Blocks. The file appears under its name only when it is whole and its digest is the recorded one.
    ///
    /// - Throws: `snapshot-damaged` when it is not, and what the store throws.
    static func write(_ id: String, of store: any SnapshotStore, to path: String) throws(FleetError) -> SnapshotRecord {
        let snapshot = try store.open(id)
        let temporary = "\(path).part-\(Randomness.token(6))"
        let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL)
        do throws(FleetError) {
            var hasher = SHA256()
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            var offset: Int64 = 0
            while true {
                var span = buffer.mutableSpan
                let count = try span.withUnsafeMutableBytes { (bytes) throws(FleetError) in
                    try snapshot.read(at: offset, into: bytes)
                }
                if count == 0 { break }
                let whole = buffer.span
                try whole.withUnsafeBytes { (bytes) throws(FleetError) in
                    let piece = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                    hasher.update(piece)
                    try file.write(piece)
                }
                offset += Int64(count)
            }
            guard offset == snapshot.record.size, hasher.finalize().hex == snapshot.record.sha256 else {
                throw FleetError(.snapshotDamaged, "snapshot \(id) is not what was stored", hint: "export another one")
            }
            try file.sync()
            try file.close()
            try FileSystem.rename(temporary, to: path)
        } catch {
            try? FileSystem.remove(temporary)
            throw error
        }
        return snapshot.record
    }
}

private import Glibc

/// An exclusive lock on a file, held as long as this lives and given back by the kernel when the process dies, however
/// it dies. The file stays: removing it would let two processes lock two files of one name.
public struct FileLock: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// - Throws: `already-exists` where another process holds it.
    public init(_ path: String, hint: String? = nil) throws(FleetError) {
        descriptor = try Descriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        let raw = descriptor.raw
        do throws(FleetError) { try systemCall("lock \(path)") { flock(raw, LOCK_EX | LOCK_NB) } } catch {
            guard errno == EWOULDBLOCK else { throw error }
            throw FleetError(.alreadyExists, "\(path) is locked by another process", hint: hint)
        }
    }
}

private import CLinux
private import Glibc

/// An exclusive lock on a file, held as long as this lives and given back by the kernel when the process dies, however
/// it dies. The file stays: removing it would let two processes lock two files of one name.
public struct FileLock: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// - Throws: `already-exists` where another process holds it.
    public init(_ path: String, hint: String? = nil) throws(FleetError) {
        let descriptor = try Descriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        guard flock(descriptor.raw, LOCK_EX | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else { throw FleetError(errno: errno, "lock \(path)") }
            throw FleetError(.alreadyExists, "\(path) is locked by another process", hint: hint)
        }
        self.descriptor = descriptor
    }
}

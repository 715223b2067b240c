private import CLinux
private import Glibc

/// Owns a file descriptor: it is closed exactly once, on every path.
public struct Descriptor: ~Copyable, Sendable {
    package let raw: Int32

    package init(owning raw: Int32) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    /// Closes now. The error of close(2) matters after a write: on some file systems it is where ENOSPC arrives.
    public consuming func close() throws(FleetError) {
        let raw = self.raw
        discard self
        // Linux frees the descriptor even when close is interrupted (close(2)), so it is never repeated.
        if Glibc.close(raw) != 0, errno != EINTR { throw FleetError(errno: errno, "close") }
    }

    /// Gives the descriptor to somebody else, such as a C library, who closes it.
    public consuming func release() -> Int32 {
        let raw = self.raw
        discard self
        return raw
    }

    public static func open(
        _ path: String, _ flags: Int32, mode: UInt32 = 0o600
    ) throws(FleetError) -> Descriptor {
        Descriptor(owning: try systemCall("open \(path)") { Glibc.open(path, flags | O_CLOEXEC, mode) })
    }

    /// Writes all of it, at the current position.
    public borrowing func write(_ bytes: UnsafeRawBufferPointer) throws(FleetError) {
        var done = 0
        while done < bytes.count {
            done += try systemCall("write") { Glibc.write(raw, bytes.baseAddress! + done, bytes.count - done) }
        }
    }

    public borrowing func write(_ bytes: some Sequence<UInt8>) throws(FleetError) {
        let bytes = ContiguousArray(bytes)
        try bytes.span.withUnsafeBytes { (buffer) throws(FleetError) in try write(buffer) }
    }

    /// Reads up to `buffer.count` bytes; 0 means the end.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        try systemCall("read") { Glibc.read(raw, buffer.baseAddress, buffer.count) }
    }

    /// Reads up to `buffer.count` bytes to its beginning; 0 means the end.
    public borrowing func read(into buffer: inout [UInt8]) throws(FleetError) -> Int {
        var span = buffer.mutableSpan
        return try span.withUnsafeMutableBytes { (bytes) throws(FleetError) in try read(into: bytes) }
    }

    /// Reads up to `buffer.count` bytes from `offset` on, wherever the position is; 0 means the end.
    public borrowing func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        try systemCall("read") { pread(raw, buffer.baseAddress, buffer.count, off_t(offset)) }
    }

    /// Writes all of it at `offset`, wherever the position is.
    public borrowing func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FleetError) {
        var done = 0
        while done < bytes.count {
            done += try systemCall("write") {
                pwrite(raw, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + done)
            }
        }
    }

    /// Length of the open file.
    public borrowing func size() throws(FleetError) -> Int64 {
        var buffer = stat()
        try systemCall("look at an open file") { fstat(raw, &buffer) }
        return Int64(buffer.st_size)
    }

    /// Of the open file itself, whatever has its name by now.
    public borrowing func status() throws(FleetError) -> FileSystem.Status {
        try FileSystem.status(ofOpen: raw)
    }

    public borrowing func seek(to offset: Int64) throws(FleetError) {
        try systemCall("seek") { lseek(raw, off_t(offset), SEEK_SET) }
    }

    public borrowing func truncate(to length: Int64) throws(FleetError) {
        try systemCall("truncate") { ftruncate(raw, off_t(length)) }
    }

    /// Takes the space of a file of that length, so that a full disk is known before the work, and writing in any order is
    /// as good as in order. A file system that can't is fine.
    public borrowing func allocate(_ length: Int64) throws(FleetError) {
        guard length > 0, fleet_allocate(raw, Int(length)) != 0, errno != EOPNOTSUPP else { return }
        throw FleetError(errno: errno, "take \(length) bytes of disk")
    }

    public borrowing func sync() throws(FleetError) {
        // A failed fsync may have dropped the dirty pages already; repeating it would report a false success
        // (the PostgreSQL "fsyncgate" of 2018), so the error is final for this file.
        try systemCall("fsync") { fsync(raw) }
    }
}

private import CLinux
private import Glibc

/// A file mapped into memory, read only. Its pages are the kernel's cache, so they are not counted as memory of ours.
///
/// The file must keep its length for as long as this lives: reading a page that was cut off is SIGBUS (mmap(2)). Files
/// that somebody may still be writing are therefore copied first.
public struct MappedFile: ~Copyable, @unchecked Sendable {
    // Unchecked: memory that nobody writes through this pointer may be read by any thread.

    /// Valid only while this lives. Empty for an empty file.
    public let bytes: UnsafeRawBufferPointer

    /// - Throws: `not-found`, `permission-denied`; `malformed` when it is not a regular file.
    public init(_ path: String) throws(FleetError) {
        let file = try Descriptor.open(path, O_RDONLY | O_NONBLOCK)
        var status = stat()
        let raw = file.raw
        try systemCall("look at \(path)") { fstat(raw, &status) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FleetError(.malformed, "\(path) is not a regular file", hint: "name the snapshot file itself")
        }
        let count = Int(status.st_size)
        guard count > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        let address = mmap(nil, count, PROT_READ, MAP_SHARED, raw, 0)
        guard let address, address != MAP_FAILED else { throw FleetError(errno: errno, "map \(path)") }
        bytes = UnsafeRawBufferPointer(start: address, count: count)
    }

    deinit {
        if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
    }

    /// Takes a range out of this process's page table: a large mapping is torn down in pieces while others still read,
    /// instead of all at once at the end. What is read there again comes back by itself.
    public borrowing func release(_ range: Range<Int>) {
        guard let base = bytes.baseAddress else { return }
        let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = (range.lowerBound + pageSize - 1) / pageSize * pageSize
        let end = min(range.upperBound, bytes.count) / pageSize * pageSize
        guard start < end else { return }
        // madvise(2): for a shared mapping of a file, MADV_DONTNEED loses nothing.
        _ = madvise(UnsafeMutableRawPointer(mutating: base) + start, end - start, MADV_DONTNEED)
    }
}

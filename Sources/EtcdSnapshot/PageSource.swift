public import FleetSystem

/// The bytes of a snapshot, wherever they are: a mapped file, or a repository that puts pages together on request.
///
/// The contract: `length` never changes, and the same range always gives the same bytes. Reads are nested (the walk
/// holds a branch page while it reads the pages below), at most some 40 deep, and the bytes of an outer read stay
/// valid until its `body` returns. Ranges asked for lie within `length` and are at most `readLimit` long.
public protocol PageSource: Sendable {
    /// Bytes of the snapshot, the digest at its end included.
    var length: Int { get }
    /// The most bytes that one read may ask for. A node of the tree that is longer gives a finding instead of a read,
    /// so this bounds the memory of a source that has to assemble what it hands out.
    var readLimit: Int { get }
    /// - Throws: what the source's own machinery throws, never anything about the content.
    func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError)
    /// A hint that this range will hardly be read again.
    func release(_ range: Range<Int>)
}

extension PageSource {
    public func release(_ range: Range<Int>) {}
}

/// A snapshot file, mapped. Nothing is copied.
public final class MappedPages: PageSource {
    private let file: MappedFile

    /// - Throws: what `MappedFile` throws.
    public init(_ path: String) throws(FleetError) { file = try MappedFile(path) }

    public var length: Int { file.bytes.count }
    public var readLimit: Int { .max }

    public func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) {
        precondition(offset >= 0 && count >= 0 && count <= length - offset, "a read outside of the file")
        try body(UnsafeRawBufferPointer(rebasing: file.bytes[offset..<(offset + count)]))
    }

    public func release(_ range: Range<Int>) { file.release(range) }
}

/// A snapshot in memory, for small ones and for tests.
public struct MemoryPages: PageSource {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var length: Int { bytes.count }
    public var readLimit: Int { .max }

    public func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) {
        precondition(offset >= 0 && count >= 0 && count <= length - offset, "a read outside of the snapshot")
        let result: Result<Void, FleetError> = bytes.withUnsafeBytes { all in
            do throws(FleetError) {
                return .success(try body(UnsafeRawBufferPointer(rebasing: all[offset..<(offset + count)])))
            } catch { return .failure(error) }
        }
        try result.get()
    }
}

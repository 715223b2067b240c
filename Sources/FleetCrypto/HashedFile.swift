public import FleetSystem
private import Glibc

/// A file that is read or written from its beginning to its end while its SHA-256 is computed. One caller at a time; it
/// blocks, so its calls are made with `Blocking.run`.
public final class HashedFile: @unchecked Sendable {
    // Unchecked: one caller at a time, on whichever disk thread is free.
    private let descriptor: Descriptor
    /// Of one that gets it when it is whole.
    private let name: PendingName?
    private var hasher = SHA256()
    public private(set) var length: Int64 = 0

    /// For reading.
    public init(reading path: String) throws(FleetError) {
        name = nil
        descriptor = try Descriptor.open(path, O_RDONLY)
    }

    /// For writing a new file, which has its name only when it is published.
    public init(for path: String) throws(FleetError) {
        let name = PendingName(path)
        self.name = name
        descriptor = try name.open()
    }

    /// For writing; what is there already is kept, hashed and gone on behind.
    public init(continuing path: String) throws(FleetError) {
        name = nil
        descriptor = try Descriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        while !(try read(256 << 10)).isEmpty {}
    }

    /// The next bytes; none at the end.
    public func read(_ count: Int) throws(FleetError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = try descriptor.read(into: &bytes)
        if got < count { bytes.removeLast(count - got) }
        hasher.update(bytes)
        length += Int64(got)
        return bytes
    }

    /// Reads on to `offset`, only for the digest.
    public func skip(to offset: Int64) throws(FleetError) {
        while length < offset {
            guard !(try read(Int(min(256 << 10, offset - length)))).isEmpty else {
                throw FleetError(.malformed, "the file ends at \(length), before \(offset)")
            }
        }
    }

    public func write(_ bytes: [UInt8]) throws(FleetError) {
        try descriptor.write(bytes)
        hasher.update(bytes)
        length += Int64(bytes.count)
    }

    public func sync() throws(FleetError) { try descriptor.sync() }

    /// Durable, under its name.
    ///
    /// - Throws: `already-exists`.
    public func publish() throws(FleetError) { try name?.give(to: descriptor) }

    /// Of all that was read or written so far.
    public var digest: String { hasher.current().hex }
}

public import FleetSystem

/// The bytes of a snapshot in any order, for who follows references in it instead of reading it from end to end. Stored
/// or still arriving; nothing of it is on the disk in the clear.
public final class RepositoryPages: Sendable {
    private let reader: PageReader
    /// What is read is not collected meanwhile.
    private let hold: PackHold?

    init(_ reader: PageReader, hold: PackHold?) {
        self.reader = reader
        self.hold = hold
    }

    public var length: Int64 { reader.length }

    /// Gives `count` bytes from `offset` on, which must be there, to `body`.
    ///
    /// - Throws: `not-found` for a pack that is not there, `snapshot-damaged`.
    public func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) {
        precondition(offset >= 0 && count >= 0 && Int64(offset) + Int64(count) <= length, "a read outside of it")
        try reader.look(at: offset, count: count, body)
    }

    /// Gives all bytes in order, pages that nothing refers to as well, each read from the disk anew.
    ///
    /// - Throws: as `read`.
    public func readAll(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError) {
        try reader.readAll(body)
    }
}

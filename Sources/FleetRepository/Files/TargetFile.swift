public import FleetSystem

/// A new file that a snapshot is written to. It holds every Secret of a cluster, and has its name only when it is whole.
public final class TargetFile: SnapshotTarget {
    private let name: PendingName
    private let descriptor: Descriptor

    public init(for path: String) throws(FleetError) {
        name = PendingName(path)
        descriptor = try name.open()
    }

    public func prepare(_ length: Int64) throws(FleetError) { try descriptor.allocate(length) }

    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FleetError) {
        try descriptor.write(bytes, at: offset)
    }

    public func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try descriptor.read(at: offset + Int64(done), into: rest)
            guard count > 0 else { throw FleetError(.system, "the file ends before what was written to it") }
            done += count
        }
    }

    /// Durable, under its name.
    ///
    /// - Throws: `already-exists`.
    public func publish() throws(FleetError) { try name.give(to: descriptor) }
}

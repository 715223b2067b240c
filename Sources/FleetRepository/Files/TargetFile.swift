public import FleetSystem
private import Glibc

/// A new file that a snapshot is written to.
public final class TargetFile: SnapshotTarget {
    private let descriptor: Descriptor

    /// - Throws: `already-exists`.
    public init(creating path: String) throws(FleetError) {
        descriptor = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
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

    public func sync() throws(FleetError) { try descriptor.sync() }
}

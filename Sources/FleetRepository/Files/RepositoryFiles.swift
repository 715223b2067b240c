public import FleetSystem

/// The file system as the repository uses it: small enough to be replaced by one that loses power at any of its steps.
public protocol RepositoryFiles: Sendable {
    func makeDirectories(_ path: String) throws(FleetError)
    /// Names, sorted.
    func list(_ directory: String) throws(FleetError) -> [String]
    /// nil where there is no such file.
    func size(_ path: String) throws(FleetError) -> Int64?
    /// Bytes that it takes of the disk, holes not counted; nil where there is no such file.
    func allocated(_ path: String) throws(FleetError) -> Int64?
    func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8]
    /// For reading and for writing at the end; created, durably, if it is not there.
    func openAppending(_ path: String) throws(FleetError) -> any RepositoryFile
    /// For reading, and for giving back space.
    func openStored(_ path: String) throws(FleetError) -> any RepositoryFile
    /// A whole new file, durable when it returns; after a crash it is there whole or not at all.
    func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError)
    /// Durable when it returns; what is not there is fine.
    func remove(_ path: String) throws(FleetError)
    /// Within a directory, durable when it returns; what has the new name is replaced.
    func rename(_ path: String, to other: String) throws(FleetError)
    func freeSpace(_ path: String) throws(FleetError) -> Int64
}

public protocol RepositoryFile: AnyObject, Sendable {
    func size() throws(FleetError) -> Int64
    func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError)
    /// Fills `buffer`; fewer bytes only at the end of the file.
    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int
    func truncate(to length: Int64) throws(FleetError)
    func sync() throws(FleetError)
    /// Gives the space of a range back to the file system; the range then reads as zeros, the length stays. After a crash
    /// the bytes may be there again.
    ///
    /// - Returns: false where the file system can't, and nothing has changed.
    func release(_ range: Range<Int64>) throws(FleetError) -> Bool
}

extension RepositoryFile {
    func append(_ bytes: [UInt8]) throws(FleetError) {
        try bytes.span.withUnsafeBytes { (bytes) throws(FleetError) in try append(bytes) }
    }

    /// Exactly `count` bytes.
    ///
    /// - Throws: `snapshot-damaged` where the file ends before.
    func read(at offset: Int64, count: Int) throws(FleetError) -> [UInt8] {
        var failure: FleetError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(FleetError) {
                filled = try read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
            } catch { failure = error }
        }
        if let failure { throw failure }
        guard bytes.count == count else {
            throw FleetError(.snapshotDamaged, "the file ends \(count - bytes.count) bytes too early")
        }
        return bytes
    }
}

import FleetSystem

/// The file system as the file store uses it: small enough to be replaced by one that loses power at any of its steps.
protocol StoreFiles: Sendable {
    func makeDirectories(_ path: String) throws(FleetError)
    func list(_ directory: String) throws(FleetError) -> [String]
    /// nil where there is no such file.
    func size(_ path: String) throws(FleetError) -> Int64?
    func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8]
    /// For reading and for writing at the end; created if it is not there.
    func openIncoming(_ path: String) throws(FleetError) -> any StoreFile
    func openStored(_ path: String) throws(FleetError) -> any StoreFile
    /// Durable when it returns.
    func rename(_ from: String, to: String) throws(FleetError)
    /// A whole new file, durable when it returns; after a crash it is there whole or not at all.
    func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError)
    /// Durable when it returns; what is not there is fine.
    func remove(_ path: String) throws(FleetError)
    func freeSpace(_ path: String) throws(FleetError) -> Int64
}

protocol StoreFile: AnyObject, Sendable {
    func size() throws(FleetError) -> Int64
    func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError)
    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int
    func truncate(to length: Int64) throws(FleetError)
    func sync() throws(FleetError)
}

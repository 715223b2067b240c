public import FleetSystem
private import Glibc

/// The real file system.
public struct SystemRepositoryFiles: RepositoryFiles {
    public init() {}

    public func makeDirectories(_ path: String) throws(FleetError) {
        try FileSystem.makeDirectories(path, mode: 0o700)
    }
    public func list(_ directory: String) throws(FleetError) -> [String] { try FileSystem.list(directory) }
    public func size(_ path: String) throws(FleetError) -> Int64? { try FileSystem.status(path)?.size }
    public func allocated(_ path: String) throws(FleetError) -> Int64? {
        do throws(FleetError) { return try FileSystem.allocatedBytes(path) } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }
    public func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8] {
        try FileSystem.read(path, limit: limit)
    }

    public func openAppending(_ path: String) throws(FleetError) -> any RepositoryFile {
        let isNew = try FileSystem.status(path) == nil
        let file = SystemRepositoryFile(
            try Descriptor.open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, mode: 0o600), path: path)
        if isNew { try FileSystem.syncDirectory(FileSystem.parent(of: path)) }
        return file
    }

    public func openStored(_ path: String) throws(FleetError) -> any RepositoryFile {
        SystemRepositoryFile(try Descriptor.open(path, O_RDONLY | O_NOFOLLOW), path: path)
    }

    public func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError) {
        try FileSystem.writeDurably(path, bytes, mode: 0o600)
    }

    public func remove(_ path: String) throws(FleetError) {
        try FileSystem.remove(path)
        try FileSystem.syncDirectory(FileSystem.parent(of: path))
    }

    public func rename(_ path: String, to other: String) throws(FleetError) { try FileSystem.rename(path, to: other) }

    public func freeSpace(_ path: String) throws(FleetError) -> Int64 { try FileSystem.freeSpace(path) }
}

private final class SystemRepositoryFile: RepositoryFile {
    private let descriptor: Descriptor
    private let path: String

    init(_ descriptor: consuming Descriptor, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    func size() throws(FleetError) -> Int64 { try descriptor.size() }
    func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) { try descriptor.write(bytes) }
    func truncate(to length: Int64) throws(FleetError) { try descriptor.truncate(to: length) }
    func sync() throws(FleetError) { try descriptor.sync() }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = try descriptor.read(at: offset + Int64(done), into: rest)
            if count == 0 { break }
            done += count
        }
        return done
    }

    func release(_ range: Range<Int64>) throws(FleetError) -> Bool { try FileSystem.punch(path, range) }
}

import FleetSystem
import Glibc

/// The real file system.
struct SystemStoreFiles: StoreFiles {
    func makeDirectories(_ path: String) throws(FleetError) { try FileSystem.makeDirectories(path, mode: 0o700) }
    func list(_ directory: String) throws(FleetError) -> [String] { try FileSystem.list(directory) }
    func size(_ path: String) throws(FleetError) -> Int64? { try FileSystem.status(path)?.size }
    func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8] { try FileSystem.read(path, limit: limit) }
    func rename(_ from: String, to: String) throws(FleetError) { try FileSystem.rename(from, to: to) }

    func openIncoming(_ path: String) throws(FleetError) -> any StoreFile {
        let isNew = try FileSystem.status(path) == nil
        let file = SystemStoreFile(try Descriptor.open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, mode: 0o600))
        if isNew { try FileSystem.syncDirectory(FileSystem.parent(of: path)) }
        return file
    }

    func openStored(_ path: String) throws(FleetError) -> any StoreFile {
        SystemStoreFile(try Descriptor.open(path, O_RDONLY | O_NOFOLLOW))
    }

    func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError) {
        try FileSystem.writeDurably(path, bytes, mode: 0o600)
    }

    func remove(_ path: String) throws(FleetError) {
        try FileSystem.remove(path)
        try FileSystem.syncDirectory(FileSystem.parent(of: path))
    }

    func freeSpace(_ path: String) throws(FleetError) -> Int64 { try FileSystem.freeSpace(path) }
}

private final class SystemStoreFile: StoreFile {
    private let descriptor: Descriptor

    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

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
}

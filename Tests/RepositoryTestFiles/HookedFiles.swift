package import FleetRepository
package import FleetSystem

/// A file system that tells of each file that is opened for reading, before it is: what another thread does just then
/// can be done there, and what it throws is what the opening throws.
package final class HookedFiles: RepositoryFiles {
    package typealias Hook = @Sendable (_ path: String) throws(FleetError) -> Void
    private let files: any RepositoryFiles
    private let hook = Monitor<Hook?>(nil)
    private let appending = Monitor<Hook?>(nil)

    package init(_ files: any RepositoryFiles) { self.files = files }

    package func onOpen(_ body: Hook?) { hook.withLock { $0 = body } }
    /// The same for files that are opened for writing.
    package func onAppend(_ body: Hook?) { appending.withLock { $0 = body } }

    package func openStored(_ path: String) throws(FleetError) -> any RepositoryFile {
        // Called outside of the lock: it may well open files itself, or take itself away.
        try hook.withLock { $0 }?(path)
        return try files.openStored(path)
    }

    package func makeDirectories(_ path: String) throws(FleetError) { try files.makeDirectories(path) }
    package func list(_ directory: String) throws(FleetError) -> [String] { try files.list(directory) }
    package func size(_ path: String) throws(FleetError) -> Int64? { try files.size(path) }
    package func allocated(_ path: String) throws(FleetError) -> Int64? { try files.allocated(path) }
    package func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8] { try files.read(path, limit: limit) }
    package func openAppending(_ path: String) throws(FleetError) -> any RepositoryFile {
        try appending.withLock { $0 }?(path)
        return try files.openAppending(path)
    }
    package func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError) {
        try files.writeDurably(path, bytes)
    }
    package func remove(_ path: String) throws(FleetError) { try files.remove(path) }
    package func rename(_ path: String, to other: String) throws(FleetError) { try files.rename(path, to: other) }
    package func freeSpace(_ path: String) throws(FleetError) -> Int64 { try files.freeSpace(path) }
}

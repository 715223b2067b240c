package import FleetRepository
package import FleetSystem

/// A file system in memory that knows what is on the disk and what is only in the cache. Every call that changes
/// something is one or several *steps*; at step `limit` the power goes (`cut`) or the disk is full (`full`). After a
/// cut every call throws until `restart`, which leaves what was on the disk.
package final class PowerCutFiles: RepositoryFiles {
    package enum Failure: Sendable { case cut, full }

    /// A file's content, shared by its names.
    final class Inode: @unchecked Sendable {
        // Unchecked: only touched under the lock of the file system that it belongs to.
        var cached: [UInt8] = []
        var synced: [UInt8] = []
    }
    struct State {
        var names: [String: Inode] = [:]
        /// The directories as they are on the disk.
        var durableNames: [String: Inode] = [:]
        var steps = 0
        var limit = Int.max
        var failure = Failure.cut
        var isOff = false
        /// At a cut, what was not synced reached the disk all the same: both happen.
        var keepsUnsynced = false
    }
    let state = Monitor(State())

    package init() {}

    package func fail(atStep limit: Int, _ failure: Failure, keepsUnsynced: Bool = false) {
        state.withLock { ($0.steps, $0.limit, $0.failure, $0.keepsUnsynced) = (0, limit, failure, keepsUnsynced) }
    }

    package var steps: Int { state.withLock { $0.steps } }

    package func restart() {
        state.withLock { state in
            state.limit = .max
            if state.isOff {
                if state.keepsUnsynced { state.durableNames = state.names }
                state.names = state.durableNames
                for inode in state.names.values {
                    if state.keepsUnsynced { inode.synced = inode.cached } else { inode.cached = inode.synced }
                }
            }
            state.isOff = false
        }
    }

    package func flip(_ path: String, byte: Int, bit: Int) {
        state.withLock { state in
            state.names[path]?.cached[byte] ^= 1 << bit
            state.names[path]?.synced[byte] ^= 1 << bit
        }
    }

    package func bytes(_ path: String) -> [UInt8] { state.withLock { $0.names[path]?.cached ?? [] } }

    package func length(_ path: String) -> Int { state.withLock { $0.names[path]?.cached.count ?? 0 } }

    package func paths() -> [String] { state.withLock { $0.names.keys.sorted() } }

    func on<Value: Sendable>(_ body: (inout State) throws(FleetError) -> Value) throws(FleetError) -> Value {
        let result: Result<Value, FleetError> = state.withLock { state in
            if state.isOff { return .failure(FleetError(.system, "the power is off")) }
            do throws(FleetError) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// One moment at which it can fail, before what follows it is done.
    static func step(_ state: inout State) throws(FleetError) {
        state.steps += 1
        guard state.steps >= state.limit else { return }
        switch state.failure {
        case .full: throw FleetError(.noSpace, "disk full")
        case .cut:
            guard state.steps == state.limit else { return }
            state.isOff = true
            throw FleetError(.system, "the power went")
        }
    }

    package func makeDirectories(_ path: String) throws(FleetError) {}

    package func list(_ directory: String) throws(FleetError) -> [String] {
        try on { state in
            state.names.keys.filter { FileSystem.parent(of: $0) == directory }.map(FileSystem.name).sorted()
        }
    }

    package func size(_ path: String) throws(FleetError) -> Int64? {
        try on { state in (state.names[path]?.cached.count).map(Int64.init) }
    }

    package func allocated(_ path: String) throws(FleetError) -> Int64? { try size(path) }

    package func read(_ path: String, limit: Int) throws(FleetError) -> [UInt8] {
        try on { state throws(FleetError) in
            guard let inode = state.names[path] else { throw FleetError(.notFound, path) }
            return inode.cached
        }
    }

    package func openAppending(_ path: String) throws(FleetError) -> any RepositoryFile {
        try on { state throws(FleetError) in
            if let inode = state.names[path] { return MemoryFile(self, inode) }
            try Self.step(&state)
            let inode = Inode()
            state.names[path] = inode
            try Self.step(&state)
            state.durableNames[path] = inode
            return MemoryFile(self, inode)
        }
    }

    package func openStored(_ path: String) throws(FleetError) -> any RepositoryFile {
        try on { state throws(FleetError) in
            guard let inode = state.names[path] else { throw FleetError(.notFound, path) }
            return MemoryFile(self, inode)
        }
    }

    package func writeDurably(_ path: String, _ bytes: [UInt8]) throws(FleetError) {
        let temporary = "\(FileSystem.parent(of: path))/.\(FileSystem.name(of: path)).tmp"
        try on { state throws(FleetError) in
            let inode = Inode()
            try Self.step(&state)
            state.names[temporary] = inode
            inode.cached = Array(bytes[..<(bytes.count / 2)])
            do throws(FleetError) { try Self.step(&state) } catch {
                if !state.isOff { state.names[temporary] = nil }
                throw error
            }
            inode.cached = bytes
            inode.synced = bytes
            if state.failure == .cut { try Self.step(&state) }
            state.names[temporary] = nil
            state.names[path] = inode
            if state.failure == .cut { try Self.step(&state) }
            state.durableNames[path] = inode
        }
    }

    package func remove(_ path: String) throws(FleetError) {
        try on { state throws(FleetError) in
            if state.failure == .cut { try Self.step(&state) }
            state.names[path] = nil
            if state.failure == .cut { try Self.step(&state) }
            state.durableNames[path] = nil
        }
    }

    package func rename(_ path: String, to other: String) throws(FleetError) {
        try on { state throws(FleetError) in
            guard let inode = state.names[path] else { throw FleetError(.notFound, path) }
            if state.failure == .cut { try Self.step(&state) }
            (state.names[path], state.names[other]) = (nil, inode)
            if state.failure == .cut { try Self.step(&state) }
            (state.durableNames[path], state.durableNames[other]) = (nil, inode)
        }
    }

    package func freeSpace(_ path: String) throws(FleetError) -> Int64 { 1 << 30 }
}

final class MemoryFile: RepositoryFile {
    private let system: PowerCutFiles
    private let inode: PowerCutFiles.Inode

    init(_ system: PowerCutFiles, _ inode: PowerCutFiles.Inode) { (self.system, self.inode) = (system, inode) }

    package func size() throws(FleetError) -> Int64 { try system.on { _ in Int64(inode.cached.count) } }

    package func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError) {
        try system.on { state throws(FleetError) in
            // Half of it is written before it fails.
            inode.cached += bytes[..<(bytes.count / 2)]
            try PowerCutFiles.step(&state)
            inode.cached += bytes[(bytes.count / 2)...]
        }
    }

    package func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int {
        let bytes = try system.on { _ in Array(inode.cached.dropFirst(Int(offset)).prefix(buffer.count)) }
        buffer.copyBytes(from: bytes)
        return bytes.count
    }

    package func truncate(to length: Int64) throws(FleetError) {
        try system.on { _ in inode.cached = Array(inode.cached.prefix(Int(length))) }
    }

    package func sync() throws(FleetError) {
        try system.on { state throws(FleetError) in
            if state.failure == .cut { try PowerCutFiles.step(&state) }
            inode.synced = inode.cached
        }
    }

    package func release(_ range: Range<Int64>) throws(FleetError) -> Bool {
        try system.on { state throws(FleetError) in
            if state.failure == .cut { try PowerCutFiles.step(&state) }
            let range = Int(range.lowerBound)..<min(Int(range.upperBound), inode.cached.count)
            inode.cached.replaceSubrange(range, with: repeatElement(0, count: range.count))
            inode.synced = inode.cached
            return true
        }
    }
}

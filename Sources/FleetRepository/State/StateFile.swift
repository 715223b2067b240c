import FleetCrypto
public import FleetSystem

/// What a repository's owner keeps in it besides snapshots: some files in one, sealed as snapshots are. See FORMAT.md.
enum StateFormat {
    enum Kind: UInt8 {
        case file = 1
        case bytes = 2
        case end = 3
    }
    /// Plain bytes of one record.
    static let pieceLength = 1 << 20
    /// Before the repository's own `config`, in a file that stands for itself.
    static let copyMagic = Array("FLTCOPY1".utf8)

    static func name(_ record: Int) -> String { "state \(record)" }
}

/// Writes one: a file's name, its bytes, the next one, the end. Not for two threads.
public final class StateWriter {
    private let file: any RepositoryFile
    private let sealed: SealedFile
    private let zstd: Zstd
    private var records = 0
    private var waiting: [UInt8] = []

    init(_ file: any RepositoryFile, _ core: RepositoryCore) throws(FleetError) {
        self.file = file
        sealed = SealedFile(.state, core.keys)
        zstd = core.zstd
        try file.append(sealed.header)
    }

    public func begin(_ name: String) throws(FleetError) {
        try flush()
        try put(.file, Array(name.utf8))
    }

    public func append(_ bytes: [UInt8]) throws(FleetError) {
        waiting += bytes
        while waiting.count >= StateFormat.pieceLength {
            try put(.bytes, try zstd.pack(Array(waiting.prefix(StateFormat.pieceLength)), level: 3))
            waiting.removeFirst(StateFormat.pieceLength)
        }
    }

    func finish() throws(FleetError) {
        try flush()
        var count = ByteWriter()
        count.varint(records)
        try put(.end, count.bytes)
    }

    private func flush() throws(FleetError) {
        guard !waiting.isEmpty else { return }
        try put(.bytes, try zstd.pack(waiting, level: 3))
        waiting = []
    }

    private func put(_ kind: StateFormat.Kind, _ bytes: [UInt8]) throws(FleetError) {
        let record = sealed.seal([kind.rawValue] + bytes, StateFormat.name(records))
        try file.append(withUnsafeBytes(of: UInt32(record.count).littleEndian, Array.init) + record)
        records += 1
    }
}

/// Reads one, record by record. What was cut or changed is `snapshot-damaged`, at the latest at the end.
public final class StateReader {
    public enum Piece: Sendable, Equatable {
        case file(String)
        case bytes([UInt8])
    }

    private let file: any RepositoryFile
    private let sealed: SealedFile
    private let zstd: Zstd
    private var offset: Int64
    private var records = 0
    private var isAtEnd = false

    init(_ file: any RepositoryFile, from start: Int64, _ keys: DataKeys, _ zstd: Zstd) throws(FleetError) {
        self.file = file
        self.zstd = zstd
        let header = try file.read(at: start, count: SealedFile.headerLength)
        sealed = try SealedFile(.state, header: header, keys)
        offset = start + Int64(SealedFile.headerLength)
    }

    /// A file that stands for itself, as `Repository.copy` gives it.
    ///
    /// - Throws: `wrong-key`, `snapshot-damaged`, `not-found`.
    public convenience init(
        copy path: String, key: RepositoryKey, files: any RepositoryFiles = SystemRepositoryFiles()
    ) throws(FleetError) {
        let file = try files.openStored(path)
        let start = StateFormat.copyMagic.count
        let head = try file.read(at: 0, count: start + 4)
        guard head.starts(with: StateFormat.copyMagic) else {
            throw FleetError(
                .malformed, "\(path) is no copy of a coordinator", hint: "name a file of 'fleetctl coordinator backup'")
        }
        let length = head.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= Repository.configLimit else { throw damaged("its config would have \(length) bytes") }
        let config = try RepositoryConfig.decode(try file.read(at: Int64(start + 4), count: length))
        try self.init(file, from: Int64(start + 4 + length), try config.dataKeys(key), Zstd())
    }

    /// nil at the end, which has to be there.
    public func next() throws(FleetError) -> Piece? {
        guard !isAtEnd else { return nil }
        let length = try file.read(at: offset, count: 4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length > SealedFile.overhead, length <= 2 * StateFormat.pieceLength else {
            throw damaged("a record would have \(length) bytes")
        }
        let plain = try sealed.open(try file.read(at: offset + 4, count: length), StateFormat.name(records))
        offset += Int64(4 + length)
        defer { records += 1 }
        let rest = Array(plain.dropFirst())
        switch plain.first.flatMap(StateFormat.Kind.init) {
        case .file: return .file(String(decoding: rest, as: UTF8.self))
        case .bytes: return .bytes(try zstd.unpack(rest, limit: StateFormat.pieceLength))
        case .end:
            var count = ByteReader(rest)
            guard try count.varint() == UInt64(records) else { throw damaged("records are missing") }
            isAtEnd = true
            return nil
        case nil: throw damaged("a record is of no known kind")
        }
    }
}

extension Repository {
    private func statePath(_ name: String) -> String { "\(core.root)/state/\(name)" }

    /// Durable when it returns. After a crash it may be there cut, which its reader finds.
    ///
    /// - Throws: `already-exists`; what `body` throws, and then it is not there.
    public func addState(
        _ name: String, _ body: (StateWriter) throws(FleetError) -> Void
    ) throws(FleetError) {
        try Self.check(name)
        try core.files.makeDirectories("\(core.root)/state")
        guard try core.files.size(statePath(name)) == nil else {
            throw FleetError(.alreadyExists, "there is a copy \(name) already")
        }
        do throws(FleetError) {
            let file = try core.files.openAppending(statePath(name))
            let writer = try StateWriter(file, core)
            try body(writer)
            try writer.finish()
            try file.sync()
        } catch {
            try? core.files.remove(statePath(name))
            throw error
        }
    }

    /// By name; the last ones may have been cut by a crash.
    public func states() throws(FleetError) -> [(name: String, size: Int64)] {
        var found: [(name: String, size: Int64)] = []
        do throws(FleetError) {
            for name in try core.files.list("\(core.root)/state") where !name.hasPrefix(".") {
                if let size = try core.files.size(statePath(name)) { found.append((name, size)) }
            }
        } catch {
            guard error.code == .notFound else { throw error }
        }
        return found
    }

    /// - Throws: `not-found`, `snapshot-damaged`.
    public func openState(_ name: String) throws(FleetError) -> StateReader {
        try Self.check(name)
        return try StateReader(try core.files.openStored(statePath(name)), from: 0, core.keys, core.zstd)
    }

    public func removeState(_ name: String) throws(FleetError) {
        try Self.check(name)
        try core.files.remove(statePath(name))
    }

    /// Kept beside the others, and no longer one of them. Durable when it returns.
    ///
    /// - Returns: the name under which it lies in `state/`.
    @discardableResult
    public func setStateAside(_ name: String) throws(FleetError) -> String {
        try Self.check(name)
        let aside = ".other-\(name)"
        try core.files.rename(statePath(name), to: statePath(aside))
        return aside
    }

    /// A file that stands for itself, in pieces: with the `config` in front, whoever has a key that opens the repository now
    /// can read it without the repository.
    public func copy(_ name: String) throws(FleetError) -> StateCopy {
        try Self.check(name)
        let config = try Self.config(core.root, core.files).encoded()
        let head =
            StateFormat.copyMagic + withUnsafeBytes(of: UInt32(config.count).littleEndian, Array.init) + config
        return StateCopy(head, try core.files.openStored(statePath(name)))
    }
}

/// One caller at a time, on whichever thread.
public final class StateCopy: @unchecked Sendable {
    private var head: [UInt8]?
    private let file: any RepositoryFile
    private var offset: Int64 = 0

    init(_ head: [UInt8], _ file: any RepositoryFile) {
        self.head = head
        self.file = file
    }

    /// nil at the end.
    public func next() throws(FleetError) -> [UInt8]? {
        if let first = head.take() { return first }
        let count = Int(min(256 << 10, try file.size() - offset))
        guard count > 0 else { return nil }
        defer { offset += Int64(count) }
        return try file.read(at: offset, count: count)
    }
}

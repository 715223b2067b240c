import FleetCrypto
import FleetProtocol
import FleetSystem

/// Programs of the agent that operators have uploaded, `programs/` of the coordinator's directory: of each its bytes, and beside
/// them what they tell, which comes last. Its calls block.
struct ProgramStore: Sendable {
    let directory: String
    /// One upload at a time: nobody needs two, and each takes the disk of a whole program.
    private let receiving = Monitor(false)

    /// Uploads that are kept, the newest, besides those that an open job needs: what agents run they have themselves.
    static let kept = 4
    /// Stays free, for what the coordinator is there for.
    static let margin: Int64 = 256 << 20

    init(directory: String) { self.directory = directory }

    private func file(_ sha256: String) -> String { "\(directory)/\(sha256)" }
    private func about(_ sha256: String) -> String { "\(directory)/\(sha256).json" }

    /// nil for one that is not here, or not whole.
    func record(_ sha256: String) throws(FleetError) -> ProgramRecord? {
        guard ProgramRecord.isDigest(sha256), FileSystem.exists(about(sha256)),
            let status = try FileSystem.status(file(sha256), following: false), status.kind == .file
        else { return nil }
        let record = try JSON.decode(ProgramRecord.self, from: try FileSystem.read(about(sha256), limit: 64 << 10))
        return record.sha256 == sha256 && record.size == status.size ? record : nil
    }

    // MARK: in

    /// A program that arrives. Nothing of it is left where it does not come to its end.
    struct Upload: Sendable {
        let announced: StreamDigest
        fileprivate let file: HashedFile
        fileprivate let scan = Monitor(ProgramScan())

        /// - Throws: `malformed` beyond what was announced.
        func take(_ bytes: [UInt8]) throws(FleetError) {
            guard file.length + Int64(bytes.count) <= announced.length else {
                throw FleetError(.malformed, "more bytes arrive than the program was said to have")
            }
            try file.write(bytes)
            scan.withLock { $0.take(bytes) }
        }
    }

    /// - Throws: `malformed` for what no program is, `busy`, `no-space`.
    func begin(_ announced: StreamDigest) throws(FleetError) -> Upload {
        guard ProgramRecord.sizeRange.contains(announced.length), ProgramRecord.isDigest(announced.sha256) else {
            throw FleetError(
                .malformed, "a program of \(announced.length) bytes, or with a digest that is none",
                hint: "a program has at most \(ProgramRecord.sizeRange.upperBound >> 20) MiB")
        }
        guard
            receiving.withLock({ isTaken in
                defer { isTaken = true }
                return !isTaken
            })
        else {
            throw FleetError(
                .busy, "another program is being uploaded", hint: "try again when that has ended", retryable: true)
        }
        do throws(FleetError) {
            try FileSystem.makeDirectories(directory)
            let free = try FileSystem.freeSpace(directory)
            guard free >= announced.length + Self.margin else {
                throw FleetError(
                    .noSpace, "\(directory) has \(free) bytes free, too few for a program of \(announced.length)",
                    hint: "free some space on the coordinator's host")
            }
            // One that is here and not whole makes room.
            try FileSystem.remove(about(announced.sha256))
            try FileSystem.remove(file(announced.sha256))
            return Upload(announced: announced, file: try HashedFile(for: file(announced.sha256)))
        } catch {
            end()
            throw error
        }
    }

    /// Behind every `begin`, however it ended.
    func end() { receiving.withLock { $0 = false } }

    /// - Parameter needed: digests that an open job names.
    /// - Throws: `program-damaged` where other bytes arrived than were announced, `not-an-agent`.
    func finish(_ upload: Upload, _ digest: StreamDigest, keeping needed: Set<String>) throws(FleetError)
        -> ProgramRecord
    {
        let (length, sha256) = (upload.file.length, upload.file.digest)
        guard digest == upload.announced, length == digest.length, sha256 == digest.sha256 else {
            throw FleetError(
                .programDamaged, "other bytes arrived than were announced",
                hint: "was the file written to? upload it again")
        }
        let record = try upload.scan.attempt { scan throws(FleetError) in
            try scan.record(size: length, sha256: sha256)
        }
        try upload.file.publish()
        try FileSystem.writeDurably(about(sha256), try JSON.encode(record, pretty: true))
        try prune(keeping: needed.union([sha256]))
        return record
    }

    private func prune(keeping needed: Set<String>) throws(FleetError) {
        var known: [(sha256: String, time: Int64)] = []
        let names = Set(try FileSystem.list(directory))
        for name in names {
            let sha256 = String(name.prefix { $0 != "." })
            guard ProgramRecord.isDigest(sha256) else { continue }
            if name == sha256, names.contains(name + ".json"), let status = try FileSystem.status(file(sha256)) {
                known.append((sha256, status.modified))
            } else if name != sha256 + ".json" || !names.contains(sha256) {
                // One half of a program, or what a crash left of an upload: the only one under way has just ended.
                try FileSystem.remove("\(directory)/\(name)")
            }
        }
        let oldest = known.filter { !needed.contains($0.sha256) }.sorted { $0.time > $1.time }
        for (sha256, _) in oldest.dropFirst(max(0, Self.kept - needed.count)) {
            try FileSystem.remove(about(sha256))
            try FileSystem.remove(file(sha256))
        }
    }

    // MARK: out

    /// From `offset` on; what is before is read for the digest alone.
    func open(_ sha256: String, from offset: Int64) throws(FleetError) -> (file: HashedFile, size: Int64) {
        guard let record = try record(sha256) else { throw Self.missing(sha256) }
        guard (0...record.size).contains(offset) else {
            throw FleetError(.malformed, "offset \(offset) of a program of \(record.size) bytes")
        }
        let file = try HashedFile(reading: file(sha256))
        try file.skip(to: offset)
        return (file, record.size)
    }

    /// What is read is not what was stored: it is uploaded anew.
    func discard(_ sha256: String) {
        try? FileSystem.remove(about(sha256))
        try? FileSystem.remove(file(sha256))
    }

    static func missing(_ sha256: String) -> FleetError {
        FleetError(
            .notFound, "the coordinator has no program \(sha256.prefix(12))",
            hint: "upload it: fleetctl agent upgrade --program FILE does it first")
    }
}

extension FleetError.Code {
    /// A program is not, byte for byte, the one that was announced or stored.
    static let programDamaged: Self = "program-damaged"
}

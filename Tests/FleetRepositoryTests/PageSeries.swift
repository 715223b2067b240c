import FleetRepository
import FleetSystem
import RepositoryTestFiles

@testable import FleetRepository

/// A generator of its own seed, so that a failure can be repeated.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

/// Files that change as snapshots do: pages replaced, edited, swapped, repeated, appended.
struct PageSeries {
    var bytes: [UInt8]
    private var random: Seeded

    /// With few letters the pages compress well, and tests of every byte have fewer.
    init(pages: Int, tail: Int = 32, seed: UInt64 = 1, letters: Int = 40) {
        random = Seeded(seed)
        bytes = []
        for _ in 0..<pages { bytes += Self.page(&random, letters) }
        bytes += (0..<tail).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    static func page(_ random: inout Seeded, _ letters: Int = 40) -> [UInt8] {
        let words = (0..<letters).map { _ in UInt8.random(in: 0...255, using: &random) }
        return (0..<4096).map { _ in words[Int.random(in: 0..<words.count, using: &random)] }
    }

    var pages: Int { bytes.count / 4096 }

    mutating func change(_ count: Int) {
        for _ in 0..<count where pages > 2 {
            let at = Int.random(in: 0..<pages, using: &random) * 4096
            let other = Int.random(in: 0..<pages, using: &random) * 4096
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes.replaceSubrange(at..<(at + 4096), with: Self.page(&random))
            case 1: bytes[at + Int.random(in: 0..<4096, using: &random)] ^= 1
            case 2: bytes.replaceSubrange(at..<(at + 4096), with: Array(bytes[other..<(other + 4096)]))
            case 3: bytes.replaceSubrange(at..<(at + 4096), with: repeatElement(0, count: 4096))
            case 4: bytes.insert(contentsOf: Self.page(&random), at: pages * 4096)
            default: bytes.removeSubrange(at..<(at + 4096))
            }
        }
        for i in bytes.indices.suffix(bytes.count % 4096) { bytes[i] = UInt8.random(in: 0...255, using: &random) }
    }
}

extension Repository {
    static let testKey = RepositoryKey.random(.master)

    static func test(_ files: any RepositoryFiles, root: String = "/r") throws -> Repository {
        if try files.size(root + "/config") == nil { _ = try create(root, files: files, master: testKey) }
        return try Repository(root, files: files, key: testKey)
    }

    func store(
        _ bytes: [UInt8], as id: String, lineage: String = "a", member: String = "", piece: Int = 10_000
    ) throws {
        let upload = try begin("up-\(id)", lineage: lineage, member: member)
        try upload.append(bytes[Int(upload.length)...], piece: piece)
        try commit(upload, as: id, payload: Array(id.utf8))
    }

    func bytes(_ id: String) throws -> [UInt8] {
        let snapshot = try open(id)
        var buffer = [UInt8](repeating: 0, count: Int(snapshot.head.length) + 10)
        let count = try buffer.withUnsafeMutableBytes { try snapshot.read(at: 0, into: $0) }
        return Array(buffer[..<count])
    }
}

extension Upload {
    func append(_ bytes: some Collection<UInt8>, piece: Int = 10_000) throws {
        let all = Array(bytes)
        for start in stride(from: 0, to: all.count, by: piece) {
            try all[start..<min(start + piece, all.count)].withUnsafeBytes { try append($0) }
        }
    }

    func allBytes() throws -> [UInt8] {
        var all: [UInt8] = []
        try readBack { bytes throws(FleetError) in all += bytes }
        return all
    }
}

func code(_ body: () throws -> Void) -> FleetError.Code? {
    do { try body() } catch { return FleetError(error).code }
    return nil
}

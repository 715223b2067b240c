import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem

/// Copies of a coordinator in its own repository: with the store and the recovery key, another machine is the same
/// coordinator again, which agents and operators know. Everything blocks.
struct CoordinatorCopies: Sendable {
    let directory: DataDirectory
    let repository: Repository

    /// So many stay; one that a crash has cut counts as one.
    static let kept = 8

    /// Without the key of the repository: whoever reads a copy has one that opens it.
    private static let files = ["settings.json", "keys/authority.crt", "keys/authority.key", "keys/job-signing.key"]
    private static let catalogue = "catalogue.db"

    /// Durable when it returns. The catalogue is copied as it is at one moment, while others write to it.
    ///
    /// - Throws: what keeps it from being read or written; nothing of it is there then.
    func make(now: Timestamp = .now()) throws(FleetError) -> CoordinatorCopy {
        let name = Identifier.make(at: now)
        let passing = directory.catalogue + ".copy"
        try FileSystem.remove(passing)
        defer { try? FileSystem.remove(passing) }
        try SQLiteConnection.copy(directory.catalogue, to: passing)
        try repository.addState(name) { writer throws(FleetError) in
            for file in Self.files {
                try writer.begin(file)
                try writer.append(try FileSystem.read("\(directory.path)/\(file)", limit: 1 << 20))
            }
            try writer.begin(Self.catalogue)
            let reader = try HashedFile(reading: passing)
            while true {
                let bytes = try reader.read(1 << 20)
                if bytes.isEmpty { break }
                try writer.append(bytes)
            }
        }
        try prune()
        guard let size = try repository.states().first(where: { $0.name == name })?.size else {
            throw FleetError(.internalError, "the copy \(name) went away")
        }
        return CoordinatorCopy(name: name, made: Self.time(of: name) ?? now, size: size)
    }

    /// Oldest first.
    func list() throws(FleetError) -> [CoordinatorCopy] {
        try repository.states().compactMap { name, size in
            Self.time(of: name).map { CoordinatorCopy(name: name, made: $0, size: size) }
        }
    }

    /// "20261124-065510-k3f9" begins with it.
    private static func time(of name: String) -> Timestamp? {
        guard Identifier.isValid(name), name.utf8.count > 15 else { return nil }
        let digits = Array(name)
        func part(_ range: Range<Int>) -> String { String(digits[range]) }
        return Timestamp(
            "\(part(0..<4))-\(part(4..<6))-\(part(6..<8))T\(part(9..<11)):\(part(11..<13)):\(part(13..<15))Z")
    }

    /// The bytes of one that stands for itself.
    func send(_ name: String, _ take: ([UInt8]) async throws(FleetError) -> Void) async throws(FleetError) {
        try await repository.copy(name, take)
    }

    private func prune() throws(FleetError) {
        for old in try list().dropLast(Self.kept) { try repository.removeState(old.name) }
    }

    // MARK: the way back

    /// Puts a copy where there is no coordinator: keys and catalogue first, the settings last, so that a directory that has
    /// them is complete.
    ///
    /// - Throws: `already-exists` where some of it is there; `snapshot-damaged`, and nothing stays.
    static func put(_ reader: StateReader, into directory: DataDirectory) throws(FleetError) {
        let staging = directory.path + "/restore.new"
        // Where it is there, somebody's power failed in the middle of this: what is there is from that.
        if !FileSystem.exists(staging) {
            for file in files + [catalogue] where FileSystem.exists("\(directory.path)/\(file)") {
                throw FleetError(
                    .alreadyExists, "\(directory.path)/\(file) is there already",
                    hint: "a coordinator is made again in a directory that has none; move it away if it is of no use")
            }
        }
        try FileSystem.removeTree(staging)
        defer { try? FileSystem.removeTree(staging) }
        try FileSystem.makeDirectories(staging + "/keys")
        var file: HashedFile?
        var found: [String] = []
        while let piece = try reader.next() {
            switch piece {
            case .file(let name):
                try file?.publish()
                guard files.contains(name) || name == catalogue, !found.contains(name) else {
                    throw FleetError(
                        .malformed, "the copy has a file \(Names.quote(name)), which is none of a coordinator's")
                }
                found.append(name)
                file = try HashedFile(for: "\(staging)/\(name)")
            case .bytes(let bytes): try file?.write(bytes)
            }
        }
        try file?.publish()
        guard Set(found) == Set(files + [catalogue]) else {
            throw FleetError(
                .malformed,
                "the copy lacks \(Set(files + [catalogue]).subtracting(found).sorted().joined(separator: ", "))")
        }
        try FileSystem.makeDirectories(directory.keys)
        for name in files.dropFirst() + [catalogue] + files.prefix(1) {
            try FileSystem.rename("\(staging)/\(name)", to: "\(directory.path)/\(name)")
        }
    }
}

import FleetCommandLine
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
    var log = Log.silent

    /// So many stay.
    static let kept = 8

    /// Without the key of the repository: whoever reads a copy has one that opens it.
    private static let files = ["settings.json", "keys/authority.crt", "keys/authority.key", "keys/job-signing.key"]
    /// There while a former authority is not retired.
    private static let passing = ["keys/\(KeyRing.File.former)", "keys/\(KeyRing.File.vouches)"]
    private static let catalogue = "catalogue.db"

    /// Durable when it returns, and read back. The catalogue is copied as it is at one moment, while others write to it.
    ///
    /// - Throws: `busy` while members of a restore or of a replacement wait for decisions: put back from such a copy, a
    ///   coordinator would decide what another has decided since. `no-space`, and whatever else; nothing of it is there then.
    func make(now: Timestamp = .now()) throws(FleetError) -> CoordinatorCopy {
        let passing = directory.catalogue + ".copy"
        try FileSystem.remove(passing)
        defer { try? FileSystem.remove(passing) }
        let size = try FileSystem.status(directory.catalogue)?.size ?? 0
        guard try FileSystem.freeSpace(directory.path) > 3 * size + (64 << 20) else {
            throw FleetError(
                .noSpace, "there is too little room in \(directory.path) for a copy of the catalogue",
                hint: "make room: a copy passes through \(Human.bytes(2 * size)) there")
        }
        try SQLiteConnection.copy(directory.catalogue, to: passing)
        let name = try Self.name(of: passing, now)
        try repository.addState(name) { writer throws(FleetError) in
            for file in Self.files + Self.passing.filter({ FileSystem.exists("\(directory.path)/\($0)") }) {
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
        do throws(FleetError) { try check(name) } catch {
            try? repository.removeState(name)
            throw error
        }
        try setAside(try list(), above: Self.sequence(of: name))
        let copies = try list()
        for old in copies.dropLast(Self.kept) where old.name != name { try repository.removeState(old.name) }
        guard let made = copies.last(where: { $0.name == name }) else {
            throw FleetError(.internalError, "the copy \(name) went away")
        }
        return made
    }

    /// What knows more than this coordinator has ever recorded is another one's, or its own from before it was put back from
    /// an older copy. Left among its copies, `restore` would choose that one, and what is made now would be the first to go.
    /// It may be the only trace of what happened then, and is never deleted.
    ///
    /// - Parameter head: the length of the audit log, read behind `copies`.
    func setAside(_ copies: [CoordinatorCopy], above head: Int64) throws(FleetError) {
        for copy in copies where Self.sequence(of: copy.name) > head {
            let aside = try repository.setStateAside(copy.name)
            log.warning(
                "a copy in the store is of a coordinator that knew more than this one, and is set aside: see RECOVERY.md, "
                    + "'Copies of another coordinator'", ["file": "\(directory.store)/state/\(aside)"])
        }
    }

    /// How long the audit log is in a copy.
    static func sequence(of name: String) -> Int64 { Int64(name.prefix { $0 != "-" }) ?? 0 }

    /// Its place in the audit log, then its time: they sort as what they know does, whatever the clock said.
    private static func name(of catalogue: String, _ now: Timestamp) throws(FleetError) -> String {
        let copy = try SQLiteConnection(.file(catalogue))
        defer { copy.close() }
        let open: Int? = try copy.first(
            """
            SELECT (SELECT count(*) FROM member_restores WHERE finished IS NULL)
                + (SELECT count(*) FROM replacements WHERE finished IS NULL) AS count
            """
        ) { row throws(FleetError) in try row["count"] }
        guard open == 0 else {
            throw FleetError(
                .busy,
                "members of a restore wait for decisions: a coordinator that is put back must not make them again",
                hint: "when it has ended; 'fleetctl status' shows it", retryable: true)
        }
        let sequence: Int64? = try copy.first("SELECT coalesce(max(sequence), 0) AS sequence FROM audit_events") {
            row throws(FleetError) in try row["sequence"]
        }
        let digits = String(sequence ?? 0)
        return String(repeating: "0", count: max(0, 12 - digits.count)) + digits + "-" + Identifier.make(at: now)
    }

    /// - Throws: `snapshot-damaged` for one that was cut or changed.
    private func check(_ name: String) throws(FleetError) {
        let reader = try repository.openState(name)
        while try reader.next() != nil {}
    }

    /// Those that a crash has cut, at the end, go: nobody must rely on them.
    func removeBroken() throws(FleetError) {
        for copy in try list().reversed() {
            do throws(FleetError) { return try check(copy.name) } catch {
                guard error.code == .snapshotDamaged else { throw error }
                try repository.removeState(copy.name)
            }
        }
    }

    /// The one that knows least first.
    func list() throws(FleetError) -> [CoordinatorCopy] {
        try repository.states().compactMap { name, size in
            Self.time(of: name).map { CoordinatorCopy(name: name, made: $0, size: size) }
        }
    }

    /// "000000000042-20261124-065510-k3f9"
    private static func time(of name: String) -> Timestamp? {
        let parts = name.split(separator: "-").map(String.init)
        guard Identifier.isValid(name), parts.count == 4, parts[1].count == 8, parts[2].count == 6 else { return nil }
        func part(_ of: String, _ range: Range<Int>) -> String { String(Array(of)[range]) }
        let (day, hour) = (parts[1], parts[2])
        return Timestamp(
            "\(part(day, 0..<4))-\(part(day, 4..<6))-\(part(day, 6..<8))T"
                + "\(part(hour, 0..<2)):\(part(hour, 2..<4)):\(part(hour, 4..<6))Z")
    }

    // MARK: the way back

    /// Puts a copy where there is no coordinator, but not in force: in a directory of its own, where all that can fail and
    /// all that has to be changed in it comes first. `publish` is what remains.
    ///
    /// - Throws: `already-exists` where some of it is there; `snapshot-damaged`, and nothing stays.
    static func stage(_ reader: StateReader, for directory: DataDirectory) throws(FleetError) -> DataDirectory {
        let complete = files[0]
        let staged = DataDirectory(path: staging(directory))
        // Where there is a staging directory and no settings, the power failed in the middle of this: the rest is from that.
        let present = FileSystem.exists(staged.path) ? [complete] : files + passing + [catalogue]
        for file in present + [catalogue + "-wal", catalogue + "-shm"]
        where FileSystem.exists("\(directory.path)/\(file)") {
            throw FleetError(
                .alreadyExists, "\(directory.path)/\(file) is there already",
                hint: "a coordinator is made again in a directory that has none; move it away if it is of no use")
        }
        do throws(FleetError) {
            try discardStaged(of: directory)
            try stage(reader, in: staged.path)
        } catch {
            try? discardStaged(of: directory)
            throw error
        }
        return staged
    }

    private static func staging(_ directory: DataDirectory) -> String { directory.path + "/restore.new" }

    /// What was staged and will not be published. The directory itself stays where a publication that was cut off has left
    /// files: it is what tells them from those of a coordinator.
    static func discardStaged(of directory: DataDirectory) throws(FleetError) {
        let staging = staging(directory)
        guard FileSystem.exists(staging) else { return }
        for name in try FileSystem.list(staging) { try FileSystem.removeTree("\(staging)/\(name)") }
        let isNeeded = (files + passing + [catalogue]).contains { FileSystem.exists("\(directory.path)/\($0)") }
        if !isNeeded { try FileSystem.removeTree(staging) }
    }

    private static func stage(_ reader: StateReader, in staging: String) throws(FleetError) {
        try FileSystem.makeDirectories(staging + "/keys")
        var file: HashedFile?
        var found: [String] = []
        while let piece = try reader.next() {
            switch piece {
            case .file(let name):
                try file?.publish()
                guard (files + passing + [catalogue]).contains(name), !found.contains(name) else {
                    throw FleetError(
                        .malformed, "the copy has a file \(Names.quote(name)), which is none of a coordinator's")
                }
                found.append(name)
                file = try HashedFile(for: "\(staging)/\(name)")
            case .bytes(let bytes): try file?.write(bytes)
            }
        }
        try file?.publish()
        let missing = Set(files + [catalogue]).subtracting(found)
        guard missing.isEmpty else {
            throw FleetError(.malformed, "the copy lacks \(missing.sorted().joined(separator: ", "))")
        }
        try checkCatalogue("\(staging)/\(catalogue)")
    }

    /// Keys and catalogue first, the settings last: a directory that has them is complete, and a coordinator starts in none
    /// that lacks them. Cut off in between, `restore` is run again.
    static func publish(_ staged: DataDirectory, as directory: DataDirectory) throws(FleetError) {
        try FileSystem.makeDirectories(directory.keys)
        for name in passing + files.dropFirst() + [catalogue, files[0]] {
            let (from, to) = ("\(staged.path)/\(name)", "\(directory.path)/\(name)")
            if FileSystem.exists(from) {
                try FileSystem.rename(from, to: to)
            } else if passing.contains(name) {
                // Of another copy, whose putting back was cut off.
                try FileSystem.remove(to)
            }
        }
        try FileSystem.removeTree(staged.path)
    }

    /// Before it is in force, while an older copy could still take its place.
    private static func checkCatalogue(_ path: String) throws(FleetError) {
        do throws(FleetError) {
            let found = try SQLiteConnection(.file(path))
            defer { found.close() }
            let verdict: String? = try found.first("PRAGMA quick_check(1)") { row throws(FleetError) in
                try row["quick_check"]
            }
            guard verdict == "ok" else { throw FleetError(.databaseCorrupt, verdict ?? "it says nothing") }
        } catch { throw FleetError(.snapshotDamaged, "its catalogue can't be used: \(error.message)") }
    }
}

private import FleetCrypto
public import FleetSystem

extension FleetError.Code {
    /// A file is no program of the agent.
    public static let notAnAgent: Self = "not-an-agent"
}

/// What the bytes of a program tell of it without running it: the architecture from its ELF header, and the version from the
/// mark that every agent carries. Fed piece by piece.
public struct ProgramScan: Sendable {
    /// "etcd-backup-fleet program fleet-agent 0.1.0;": in two parts, so that a program that looks for it does not have it.
    static let mark = ["etcd-backup-fleet program", "fleet-agent "].joined(separator: " ")
    private static let longestVersion = 64

    private var header: [UInt8] = []
    /// The end of what was looked at, in which a mark may have begun.
    private var rest: [UInt8] = []
    private var version: String?
    private let needle = Array(Self.mark.utf8)
    /// How far the needle may be moved on, by the byte under its end.
    private let shifts: [Int]

    public init() {
        var shifts = [Int](repeating: needle.count, count: 256)
        for (index, byte) in needle.dropLast().enumerated() { shifts[Int(byte)] = needle.count - 1 - index }
        self.shifts = shifts
    }

    public mutating func take(_ bytes: [UInt8]) {
        if header.count < 64 { header += bytes.prefix(64 - header.count) }
        guard version == nil else { return }
        let window = rest + bytes
        version = look(in: window)
        rest = Array(window.suffix(needle.count + Self.longestVersion + 1))
    }

    private func look(in window: [UInt8]) -> String? {
        window.withUnsafeBufferPointer { window in
            var start = 0
            while start + needle.count <= window.count {
                if needle.indices.allSatisfy({ window[start + $0] == needle[$0] }) {
                    let behind = window[(start + needle.count)...].prefix(Self.longestVersion + 1)
                    if let end = behind.firstIndex(of: UInt8(ascii: ";")) {
                        let version = String(decoding: behind[..<end], as: UTF8.self)
                        if ProgramVersion.isValid(version) { return version }
                    }
                }
                start += shifts[Int(window[start + needle.count - 1])]
            }
            return nil
        }
    }

    /// - Parameters: length and digest of all that was taken, which `HashedFile` knows.
    /// - Throws: `not-an-agent`, saying what it is instead as far as that can be told.
    public func record(size: Int64, sha256: String) throws(FleetError) -> ProgramRecord {
        let hint = "give the fleet-agent program of a release, as /usr/bin/fleet-agent of its package"
        guard ProgramRecord.sizeRange.contains(size) else {
            throw FleetError(
                .notAnAgent, "\(size) bytes is no size of an agent's program", hint: hint)
        }
        guard let architecture = try? Self.architecture(header) else {
            throw FleetError(.notAnAgent, "the file is no program for Linux (no ELF header)", hint: hint)
        }
        // A part of a program may start, and end at the first byte that it misses.
        guard Self.neededSize(header) <= size else {
            throw FleetError(
                .notAnAgent, "the file is only a part of a program: its ELF header tells of more than \(size) bytes",
                hint: "copy it anew, and compare its SHA-256 with the release's")
        }
        guard let version else {
            throw FleetError(.notAnAgent, "the file is a program, but not fleet-agent", hint: hint)
        }
        return ProgramRecord(sha256: sha256, size: size, version: version, architecture: architecture)
    }

    /// elf(5): e_ident has the magic, class and byte order; e_type and e_machine are behind its 16 bytes.
    public static func architecture(_ header: [UInt8]) throws(FleetError) -> String {
        guard header.count >= 20, header.starts(with: [0x7f, UInt8(ascii: "E"), UInt8(ascii: "L"), UInt8(ascii: "F")]),
            [1, 2].contains(header[4]), [1, 2].contains(header[5])
        else { throw FleetError(.notAnAgent, "no ELF header") }
        func half(_ offset: Int) -> Int {
            let (first, second) = (Int(header[offset]), Int(header[offset + 1]))
            return header[5] == 1 ? first | second << 8 : second | first << 8
        }
        // ET_EXEC, ET_DYN
        guard [2, 3].contains(half(16)) else { throw FleetError(.notAnAgent, "an ELF file that is no program") }
        let name =
            switch half(18) {
            case 62: "x86_64"
            case 183: "aarch64"
            case 22: "s390x"
            case let other: "machine-\(other)"
            }
        return name + (header[4] == 2 ? "" : "-32")
    }

    /// Up to the end of both tables of headers, that of the sections being last in what linkers write; elf(5): e_phoff at 32,
    /// e_shoff at 40, the sizes and counts of both from 54 on. Of a 32-bit program nothing is said.
    static func neededSize(_ header: [UInt8]) -> Int64 {
        guard header.count >= 64, header[4] == 2 else { return 0 }
        func number(_ offset: Int, _ length: Int) -> UInt64 {
            let bytes = header[offset..<offset + length]
            return (header[5] == 1 ? Array(bytes.reversed()) : Array(bytes)).reduce(0) { $0 << 8 | UInt64($1) }
        }
        let (programs, sections) = (
            number(32, 8).addingReportingOverflow(number(54, 2) * number(56, 2)),
            number(40, 8).addingReportingOverflow(number(58, 2) * number(60, 2))
        )
        guard !programs.overflow, !sections.overflow else { return .max }
        return Int64(clamping: max(programs.partialValue, sections.partialValue))
    }
}

extension ProgramScan {
    /// Of a file, read once from its beginning to its end; it blocks.
    ///
    /// - Throws: `not-an-agent`, and what reading a file does.
    public static func record(of path: String) throws(FleetError) -> ProgramRecord {
        let file = try HashedFile(reading: path)
        var scan = ProgramScan()
        while true {
            let bytes = try file.read(1 << 20)
            if bytes.isEmpty { break }
            scan.take(bytes)
        }
        return try scan.record(size: file.length, sha256: file.digest)
    }
}

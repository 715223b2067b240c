internal import FleetSystem
private import Glibc

/// An append-only file of records, one a line: the CRC-32C of the rest in 8 hexadecimal digits, a blank, JSON.
/// `append` returns when the line is on the disk. A last line that was cut off by a crash is as if it had never been
/// begun; damage before it is an error, since then nobody knows where the node stands, and so is a whole line that this agent
/// can't read.
///
/// A line that could not be written whole is taken back at once: the next one would follow its torn bytes, and what
/// was a full disk would be a damaged journal.
final class Journal<Record: Codable & Sendable>: Sendable {
    private struct End {
        /// Bytes of whole records, all on the disk.
        var length: Int64
        /// What kept a torn line from being taken back; from then on nothing is appended.
        var failure: FleetError?
    }

    /// What was in it when it was opened.
    let recovered: [Record]
    private let file: Descriptor
    private let end: Monitor<End>

    /// Opens or makes it; what a crash left of a last line is cut off.
    ///
    /// - Throws: `journal-damaged`.
    init(_ path: String) throws(FleetError) {
        let isNew = try FileSystem.status(path) == nil
        let (records, whole) = isNew ? ([], 0) : try Self.read(path)
        let file = try Descriptor.open(path, O_WRONLY | O_CREAT)
        try file.truncate(to: Int64(whole))
        try file.seek(to: Int64(whole))
        if isNew { try FileSystem.syncDirectory(FileSystem.parent(of: path)) }
        self.file = file
        end = Monitor(End(length: Int64(whole)))
        recovered = records
    }

    /// The records of a journal that is not to be continued.
    static func records(_ path: String) throws(FleetError) -> [Record] { try read(path).records }

    /// What is whole in a damaged journal, and how many lines are not.
    static func salvage(_ path: String) throws(FleetError) -> (records: [Record], lost: Int) {
        var result: (records: [Record], lost: Int) = ([], 0)
        for line in try FileSystem.read(path, limit: limit).split(separator: UInt8(ascii: "\n")) {
            if let record = decode(line) { result.records.append(record) } else { result.lost += 1 }
        }
        return result
    }

    /// - Throws: when the record is not in the journal; what is in it stays readable, and the next may be tried.
    func append(_ record: Record) throws(FleetError) {
        let line = try Self.line(record)
        let failure: FleetError? = end.withLock { end in
            if let failure = end.failure { return failure }
            do throws(FleetError) {
                try file.write(line)
                try file.sync()
                end.length += Int64(line.count)
                return nil
            } catch {
                end.failure = takeBack(to: end.length)
                return error
            }
        }
        if let failure { throw failure }
    }

    private func takeBack(to length: Int64) -> FleetError? {
        do throws(FleetError) {
            try file.truncate(to: length)
            try file.seek(to: length)
            try file.sync()
            return nil
        } catch { return error.during("a torn record could not be taken back") }
    }

    static func line(_ record: Record) throws(FleetError) -> [UInt8] {
        let json = try JSON.encode(record)
        let digits = String(CRC32C.checksum(json), radix: 16)
        let padded = String(repeating: "0", count: 8 - digits.count) + digits
        return Array(padded.utf8) + [UInt8(ascii: " ")] + json + [UInt8(ascii: "\n")]
    }

    private static var limit: Int { 64 << 20 }

    private static func read(_ path: String) throws(FleetError) -> (records: [Record], length: Int) {
        let bytes = try FileSystem.read(path, limit: limit)
        var records: [Record] = []
        var start = 0
        while start < bytes.count {
            guard let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) else { break }
            if let json = content(bytes[start..<end]) {
                do throws(FleetError) { records.append(try JSON.decode(Record.self, from: json)) } catch {
                    // It was written whole, so it is no crash's: what it says must not be cut off as if it had not been done.
                    throw FleetError(
                        .journalDamaged,
                        "\(path) has a record, number \(records.count + 1), that this agent does not know",
                        hint: "a newer agent has written it: let that one, or a still newer one, go on from here")
                }
                start = end + 1
            } else if end == bytes.count - 1 {
                break
            } else {
                throw FleetError(
                    .journalDamaged, "\(path) is damaged at record \(records.count + 1)",
                    hint: "the disk may be failing; compare what is on the node with the last records of this file")
            }
        }
        return (records, start)
    }

    private static func decode(_ line: ArraySlice<UInt8>) -> Record? {
        content(line).flatMap { try? JSON.decode(Record.self, from: $0) }
    }

    /// What was written, where it is whole.
    private static func content(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard line.count > 9, let sum = UInt32(String(decoding: line.prefix(8), as: UTF8.self), radix: 16) else {
            return nil
        }
        let json = line.dropFirst(9)
        return CRC32C.checksum(Array(json)) == sum ? json : nil
    }
}

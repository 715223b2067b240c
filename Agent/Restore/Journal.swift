internal import FleetSystem
private import Glibc

/// An append-only file of records, one a line: the CRC-32C of the rest in 8 hexadecimal digits, a blank, JSON.
/// `append` returns when the line is on the disk. A last line that was cut off by a crash is as if it had never been
/// begun; damage before it is an error, since then nobody knows where the node stands.
///
/// One driver appends at a time; which thread it is on does not matter.
final class Journal<Record: Codable & Sendable>: Sendable {
    /// What was in it when it was opened.
    let recovered: [Record]
    private let file: Descriptor

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
        recovered = records
    }

    /// The records of a journal that is not to be continued.
    static func records(_ path: String) throws(FleetError) -> [Record] { try read(path).records }

    func append(_ record: Record) throws(FleetError) {
        try file.write(try Self.line(record))
        try file.sync()
    }

    static func line(_ record: Record) throws(FleetError) -> [UInt8] {
        let json = try JSON.encode(record)
        let digits = String(CRC32C.checksum(json), radix: 16)
        let padded = String(repeating: "0", count: 8 - digits.count) + digits
        return Array(padded.utf8) + [UInt8(ascii: " ")] + json + [UInt8(ascii: "\n")]
    }

    private static func read(_ path: String) throws(FleetError) -> (records: [Record], length: Int) {
        let bytes = try FileSystem.read(path, limit: 64 << 20)
        var records: [Record] = []
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n"))
            if let end, let record = decode(bytes[start..<end]) {
                records.append(record)
                start = end + 1
            } else if end == nil || end == bytes.count - 1 {
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
        guard line.count > 9, let sum = UInt32(String(decoding: line.prefix(8), as: UTF8.self), radix: 16) else {
            return nil
        }
        let json = line.dropFirst(9)
        return CRC32C.checksum(json) == sum ? try? JSON.decode(Record.self, from: json) : nil
    }
}

internal import FleetSystem

/// Which member of which cluster a data directory is of, as its write-ahead log says it: every file of the log begins with
/// a record of its checksum and one with both ids (etcd: wal.Create, raftpb). Nothing has to run for it.
struct OldIdentity: Sendable, Equatable {
    var member: UInt64
    var cluster: UInt64

    /// - Returns: nil where there is no such log, or none that can be read.
    static func read(dataDir: String, walDir: String?) -> OldIdentity? {
        let directory = walDir ?? dataDir + "/member/wal"
        guard let newest = (try? FileSystem.list(directory))?.last(where: { $0.hasSuffix(".wal") }) else { return nil }
        // The two records take some 60 bytes of a file that is made with 64 MB.
        var head = [UInt8](repeating: 0, count: 512)
        guard let file = try? Descriptor.open("\(directory)/\(newest)", 0), let count = try? file.read(into: &head)
        else { return nil }
        return parse(Array(head[..<count]))
    }

    static func parse(_ bytes: [UInt8]) -> OldIdentity? {
        var rest = bytes[...]
        guard let first = record(&rest), first.type == 4, let second = record(&rest), second.type == 1 else {
            return nil
        }
        let fields = Fields(second.data)
        guard let member = fields.numbers[1], let cluster = fields.numbers[2], member != 0, cluster != 0 else {
            return nil
        }
        return OldIdentity(member: member, cluster: cluster)
    }

    /// A frame is its length in the low 56 bits of 8 bytes, little-endian, the record, and zeros up to a multiple of 8.
    private static func record(_ rest: inout ArraySlice<UInt8>) -> (type: UInt64, data: [UInt8])? {
        guard rest.count >= 8 else { return nil }
        let word = rest.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let length = Int(word & 0xFF_FFFF_FFFF_FFFF)
        guard length > 0, length <= rest.count - 8 else { return nil }
        let fields = Fields(Array(rest.dropFirst(8).prefix(length)))
        rest = rest.dropFirst(8 + (length + 7) / 8 * 8)
        return fields.numbers[1].map { ($0, fields.data ?? []) }
    }

    /// Of a protocol buffer: its numbers, and the bytes of field 3.
    private struct Fields {
        var numbers: [UInt64: UInt64] = [:]
        var data: [UInt8]?

        init(_ bytes: [UInt8]) {
            var rest = bytes[...]
            while let key = Self.varint(&rest), let value = Self.varint(&rest) {
                switch key & 7 {
                case 0: numbers[key >> 3] = value
                case 2:
                    guard value <= UInt64(rest.count) else { return }
                    if key >> 3 == 3 { data = Array(rest.prefix(Int(value))) }
                    rest = rest.dropFirst(Int(value))
                default: return
                }
            }
        }

        private static func varint(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
            var value: UInt64 = 0
            for shift in stride(from: UInt64(0), to: 64, by: 7) {
                guard let byte = rest.popFirst() else { return nil }
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
            }
            return nil
        }
    }
}

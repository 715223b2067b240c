/// An entry's key in the bucket `key` (etcd `mvcc/revision.go`): main u64 big-endian, '_', sub u64 big-endian; a
/// deletion has 't' behind it.
struct Revision: Equatable {
    var main: Int64
    var sub: Int64
    var isTombstone = false

    /// nil when it has another form, or is negative as etcd's int64.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 17 || (bytes.count == 18 && bytes[17] == UInt8(ascii: "t")), bytes[8] == UInt8(ascii: "_"),
            let main = Int64(exactly: bytes.bigEndian64(0)), let sub = Int64(exactly: bytes.bigEndian64(9))
        else { return nil }
        self.main = main
        self.sub = sub
        isTombstone = bytes.count == 18
    }
}

/// mvccpb.KeyValue: 1 key, 2 create revision, 3 modification revision, 4 version, 5 value, 6 lease.
struct KeyValue {
    /// From the message's beginning.
    var keyOffset = 0
    var key = UnsafeRawBufferPointer(start: nil, count: 0)
    var valueOffset = 0
    var value = UnsafeRawBufferPointer(start: nil, count: 0)
    var createRevision: Int64 = 0
    var modRevision: Int64 = 0
    var version: Int64 = 0
    var lease: Int64 = 0
    var problem: Problem?

    enum Problem: String, Error {
        case malformed = "its value is not a KeyValue message"
        case fields = "its value has fields that a KeyValue has not, or not in order"
    }

    /// - Throws: `malformed`. Fields that etcd would not have written leave a `problem`, and are passed over.
    init(_ message: UnsafeRawBufferPointer) throws(Problem) {
        var reader = ProtoReader(message)
        var last: UInt64 = 0
        do {
            while let (field, value) = try reader.next() {
                if field <= last { problem = .fields }
                last = field
                switch (field, value) {
                case (1, .bytes(let offset, let bytes)): (keyOffset, key) = (offset, bytes)
                case (2, .varint(let number)): createRevision = Int64(bitPattern: number)
                case (3, .varint(let number)): modRevision = Int64(bitPattern: number)
                case (4, .varint(let number)): version = Int64(bitPattern: number)
                case (5, .bytes(let offset, let bytes)): (valueOffset, self.value) = (offset, bytes)
                case (6, .varint(let number)): lease = Int64(bitPattern: number)
                default: problem = .fields
                }
            }
        } catch { throw .malformed }
    }

    /// What contradicts the entry's own key, or itself.
    func contradiction(_ revision: Revision, isEmpty: Bool) -> String? {
        if let problem { return problem.rawValue }
        if revision.isTombstone {
            if key.isEmpty { return "it is the deletion of no key" }
            return createRevision == 0 && modRevision == 0 && version == 0 && lease == 0 && value.isEmpty
                ? nil : "it is a deletion, but has more than a key"
        }
        // 'snapshot restore --bump-revision' marks the revision it goes to with an empty value.
        if isEmpty { return nil }
        if key.isEmpty { return "its key is empty" }
        if modRevision != revision.main { return "it says that it is of revision \(modRevision)" }
        if createRevision < 1 || createRevision > modRevision {
            return "it says that it was created at \(createRevision)"
        }
        if version < 1 { return "it says that it is version \(version)" }
        if (version == 1) != (createRevision == modRevision) {
            return "version \(version) does not fit its creation at revision \(createRevision)"
        }
        return nil
    }
}

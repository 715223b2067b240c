internal import CSQLite
internal import FleetSystem

/// A prepared statement. It belongs to one connection and is used on that connection's thread only.
final class Statement {
    let handle: OpaquePointer
    /// Column name -> index, for reading rows by name.
    private(set) lazy var columns: [String: Int32] = {
        var names: [String: Int32] = [:]
        for index in 0..<sqlite3_column_count(handle) {
            if let name = sqlite3_column_name(handle, index) { names[String(cString: name)] = index }
        }
        return names
    }()

    init(owning handle: OpaquePointer) { self.handle = handle }
    deinit { sqlite3_finalize(handle) }

    /// Indexes start at 1: "The leftmost SQL parameter has an index of 1."
    func bind(_ value: SQLiteValue, at index: Int32) -> Int32 {
        switch value {
        case .null: sqlite3_bind_null(handle, index)
        case .integer(let number): sqlite3_bind_int64(handle, index, number)
        case .text(let text):
            // The length in bytes is given, so that a NUL inside is stored and not cut at.
            Array(text.utf8).withUnsafeBytes {
                $0.withMemoryRebound(to: CChar.self) {
                    // An empty text is no NULL: it needs an address.
                    $0.baseAddress.map { fleet_bind_text(handle, index, $0, Int32(text.utf8.count)) }
                        ?? fleet_bind_text(handle, index, "", 0)
                }
            }
        case .blob(let bytes): bytes.withUnsafeBytes { fleet_bind_blob(handle, index, $0.baseAddress, Int32($0.count)) }
        }
    }

    func value(at index: Int32) -> SQLiteValue? {
        switch sqlite3_column_type(handle, index) {
        case SQLITE_NULL: return .null
        case SQLITE_INTEGER: return .integer(sqlite3_column_int64(handle, index))
        case SQLITE_TEXT:
            // "The safest policy is to invoke sqlite3_column_text() followed by sqlite3_column_bytes()".
            guard let text = sqlite3_column_text(handle, index) else { return nil }
            let count = Int(sqlite3_column_bytes(handle, index))
            return .text(String(decoding: UnsafeBufferPointer(start: text, count: count), as: UTF8.self))
        case SQLITE_BLOB:
            // "The return value from sqlite3_column_blob() for a zero-length BLOB is a NULL pointer."
            guard let bytes = sqlite3_column_blob(handle, index) else { return .blob([]) }
            let count = Int(sqlite3_column_bytes(handle, index))
            return .blob([UInt8](UnsafeRawBufferPointer(start: bytes, count: count)))
        default: return nil
        }
    }
}

/// The row that a query stands on. It is only valid inside the closure that it was given to.
public struct SQLiteRow {
    let statement: Statement

    /// - Throws: `internal` for a column that the query does not have, `database-corrupt` for a value of another type:
    ///   in STRICT tables neither can come from valid data.
    public subscript<Value: SQLiteReadable>(_ column: String) -> Value {
        get throws(FleetError) {
            guard let index = statement.columns[column] else {
                throw FleetError(.internalError, "the query has no column \(column)")
            }
            guard let raw = statement.value(at: index), let value = Value(raw) else {
                throw FleetError(.databaseCorrupt, "column \(column) does not hold a \(Value.self)")
            }
            return value
        }
    }
}

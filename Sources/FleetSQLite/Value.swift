public import FleetSystem

/// A value as SQLite stores it. REAL is not used by the fleet: counts and times are integers.
public enum SQLiteValue: Sendable, Equatable {
    case null
    case integer(Int64)
    case text(String)
    case blob([UInt8])
}

/// What can be given to a `?` of a statement.
public protocol SQLiteBindable {
    var sqliteValue: SQLiteValue { get }
}

/// What a column can be read as; nil where the column holds something else, which is an error of the schema or of
/// the file, never silently another value.
public protocol SQLiteReadable {
    init?(_ value: SQLiteValue)
}

extension Int64: SQLiteBindable, SQLiteReadable {
    public var sqliteValue: SQLiteValue { .integer(self) }
    public init?(_ value: SQLiteValue) {
        guard case .integer(let number) = value else { return nil }
        self = number
    }
}

extension Int: SQLiteBindable, SQLiteReadable {
    public var sqliteValue: SQLiteValue { .integer(Int64(self)) }
    public init?(_ value: SQLiteValue) {
        guard case .integer(let number) = value else { return nil }
        self = Int(number)
    }
}

extension Bool: SQLiteBindable, SQLiteReadable {
    /// 0 and 1.
    public var sqliteValue: SQLiteValue { .integer(self ? 1 : 0) }
    public init?(_ value: SQLiteValue) {
        switch value {
        case .integer(0): self = false
        case .integer(1): self = true
        default: return nil
        }
    }
}

extension String: SQLiteBindable, SQLiteReadable {
    public var sqliteValue: SQLiteValue { .text(self) }
    public init?(_ value: SQLiteValue) {
        guard case .text(let text) = value else { return nil }
        self = text
    }
}

extension [UInt8]: SQLiteBindable, SQLiteReadable {
    public var sqliteValue: SQLiteValue { .blob(self) }
    public init?(_ value: SQLiteValue) {
        guard case .blob(let bytes) = value else { return nil }
        self = bytes
    }
}

extension Timestamp: SQLiteBindable, SQLiteReadable {
    /// Milliseconds since 1970, UTC.
    public var sqliteValue: SQLiteValue { .integer(milliseconds) }
    public init?(_ value: SQLiteValue) {
        guard case .integer(let number) = value else { return nil }
        self.init(milliseconds: number)
    }
}

extension Optional: SQLiteReadable where Wrapped: SQLiteReadable {
    public init?(_ value: SQLiteValue) {
        if case .null = value {
            self = .none
        } else {
            guard let wrapped = Wrapped(value) else { return nil }
            self = wrapped
        }
    }
}

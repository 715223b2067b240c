internal import CSQLite
public import FleetSystem
private import Glibc

/// One SQLite connection, made for one owner: not Sendable, held by an actor that runs on a thread of its own. Every
/// function blocks.
public final class SQLiteConnection {
    private let handle: OpaquePointer
    /// Statements at rest, by their text. One in use is taken out, so that a query inside a query of the same text
    /// gets a statement of its own.
    private var statements: [String: Statement] = [:]

    public enum Location: Sendable {
        case file(String)
        case memory
    }

    /// Opens or creates the database, mode 0600, with what the fleet relies on switched on and checked.
    public convenience init(_ location: Location, busyTimeout: Duration = .seconds(10)) throws(FleetError) {
        try self.init(location, busyTimeout: busyTimeout, isThere: false)
    }

    /// - Parameter isThere: this process may have it open already. Whoever closes
    ///   any descriptor of a file takes all locks that the process has on it (fcntl(2)), so nobody but SQLite may then.
    private init(_ location: Location, busyTimeout: Duration, isThere: Bool) throws(FleetError) {
        let path: String
        switch location {
        case .memory: path = ":memory:"
        case .file(let file):
            path = file
            // SQLite would create the file with 0644. The journal files take over the mode of the database
            // (findCreateFileMode in os_unix.c), so setting it here, first, is enough for them.
            if !isThere {
                try Descriptor.open(file, O_RDWR | O_CREAT, mode: 0o600).close()
                try FileSystem.setMode(file, 0o600)
            }
        }
        var handle: OpaquePointer?
        // "SQLITE_OPEN_NOMUTEX: the new database connection will use the multi-thread threading mode. This means that
        // separate threads are allowed to use SQLite at the same time, as long as each thread is using a different
        // database connection."  "SQLITE_OPEN_EXRESCODE: the database connection comes up in extended result code mode."
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let code = sqlite3_open_v2(path, &handle, flags, nil)
        guard code == SQLITE_OK, let handle else {
            let message = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            // "Whether or not an error occurs when it is opened, resources associated with the database connection
            // handle should be released by passing it to sqlite3_close() when it is no longer required."
            sqlite3_close(handle)
            throw FleetError(sqlite: code, "open \(path)", message: message)
        }
        self.handle = handle
        sqlite3_busy_timeout(handle, Int32(busyTimeout.milliseconds))
        // Double-quoted strings are a mistake that becomes a column name; DEFENSIVE forbids SQL that corrupts the file.
        for option in [SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_DQS_DML, SQLITE_DBCONFIG_TRUSTED_SCHEMA] {
            fleet_db_config(handle, option, 0)
        }
        fleet_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1)
        do throws(FleetError) { try configure(location) } catch {
            close()
            throw error.during("open \(path)")
        }
    }

    private func configure(_ location: Location) throws(FleetError) {
        if case .file = location {
            // "The new journaling mode is returned as a string": asking is not enough, the answer counts.
            let mode: String? = try first("PRAGMA journal_mode = WAL") { row throws(FleetError) in
                try row["journal_mode"]
            }
            guard mode == "wal" else {
                throw FleetError(
                    .database, "the file system does not support a write-ahead log",
                    hint: "put the data directory on a local file system")
            }
        }
        // "If the application running SQLite crashes, the data will be safe, but the database [with NORMAL in WAL mode]
        // might [...] roll back following a power loss": a receipt given must survive that, hence FULL.
        try run("PRAGMA synchronous = FULL")
        try run("PRAGMA foreign_keys = ON")
        // "When the REPLACE conflict resolution strategy deletes rows in order to satisfy a constraint, delete triggers
        // fire if and only if recursive triggers are enabled": append-only tables rely on their triggers.
        try run("PRAGMA recursive_triggers = ON")
        try run("PRAGMA cell_size_check = ON")
    }

    /// The database as it is at one moment, in a new file of its own, mode 0600, without a log beside it; others may write
    /// to it meanwhile. It is not synced.
    public static func copy(_ path: String, to target: String) throws(FleetError) {
        guard FileSystem.exists(path) else { throw FleetError(.notFound, "\(path) is not there") }
        // "The file must be empty or not exist": SQLite alone would give it the mode that the umask leaves.
        try Descriptor.open(target, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600).close()
        let source = try SQLiteConnection(.file(path), busyTimeout: .seconds(10), isThere: true)
        defer { source.close() }
        try source.run("VACUUM INTO ?", target)
    }

    deinit { close() }
    private var isClosed = false

    /// Closes; the WAL is checkpointed into the database by SQLite when the last connection goes.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        // "If sqlite3_close() is called on a database connection that still has outstanding prepared statements [...]
        // returns SQLITE_BUSY": they go first.
        statements = [:]
        let code = sqlite3_close(handle)
        assert(code == SQLITE_OK, "a statement was still open")
    }

    /// Runs a statement that gives no rows that matter; the number of rows that it changed.
    @discardableResult
    public func run(_ sql: String, _ values: (any SQLiteBindable)?...) throws(FleetError) -> Int {
        try use(sql, values) { statement throws(FleetError) in
            while try step(statement) {}
            return Int(sqlite3_changes(handle))
        }
    }

    public func all<Value>(
        _ sql: String, _ values: (any SQLiteBindable)?..., read: (SQLiteRow) throws(FleetError) -> Value
    ) throws(FleetError) -> [Value] {
        try all(sql, values: values, read: read)
    }

    /// As above, with the values in an array.
    public func all<Value>(
        _ sql: String, values: [(any SQLiteBindable)?], read: (SQLiteRow) throws(FleetError) -> Value
    ) throws(FleetError) -> [Value] {
        try use(sql, values) { statement throws(FleetError) in
            var result: [Value] = []
            while try step(statement) { result.append(try read(SQLiteRow(statement: statement))) }
            return result
        }
    }

    /// The first row, nil where there is none.
    public func first<Value>(
        _ sql: String, _ values: (any SQLiteBindable)?..., read: (SQLiteRow) throws(FleetError) -> Value
    ) throws(FleetError) -> Value? {
        try use(sql, values) { statement throws(FleetError) in
            try step(statement) ? try read(SQLiteRow(statement: statement)) : nil
        }
    }

    /// Several statements, separated by semicolons, without parameters: a migration.
    public func script(_ sql: String) throws(FleetError) {
        var message: UnsafeMutablePointer<CChar>?
        let code = sqlite3_exec(handle, sql, nil, nil, &message)
        defer { sqlite3_free(message) }
        guard code == SQLITE_OK else {
            throw FleetError(
                sqlite: code, "run SQL", message: message.map { String(cString: $0) } ?? "unknown error")
        }
    }

    public var isInTransaction: Bool {
        // "Autocommit mode is disabled by a BEGIN statement. Autocommit mode is re-enabled by a COMMIT or ROLLBACK."
        sqlite3_get_autocommit(handle) == 0
    }

    /// All of `body` or nothing of it. IMMEDIATE takes the write lock at once: a deferred transaction that begins by
    /// reading fails in the middle with SQLITE_BUSY_SNAPSHOT, which no timeout cures.
    @discardableResult
    public func transaction<Value>(_ body: () throws(FleetError) -> Value) throws(FleetError) -> Value {
        guard !isInTransaction else { throw FleetError(.internalError, "a transaction inside a transaction") }
        try run("BEGIN IMMEDIATE")
        do throws(FleetError) {
            let value = try body()
            try run("COMMIT")
            return value
        } catch {
            // "It is recommended that applications respond to [SQLITE_FULL, IOERR, NOMEM, BUSY, INTERRUPT] by explicitly
            // issuing a ROLLBACK command. If the transaction has already been rolled back automatically by the error
            // response, then the ROLLBACK command will fail with an error, but no harm is caused by this."
            if isInTransaction { _ = try? run("ROLLBACK") }
            throw error
        }
    }

    // MARK: statements

    private func use<Value>(
        _ sql: String, _ values: [(any SQLiteBindable)?], _ body: (Statement) throws(FleetError) -> Value
    ) throws(FleetError) -> Value {
        guard !isClosed else { throw FleetError("stopping", "the program is stopping", retryable: true) }
        let statement: Statement
        if let idle = statements.removeValue(forKey: sql) { statement = idle } else { statement = try prepare(sql) }
        defer {
            sqlite3_reset(statement.handle)
            sqlite3_clear_bindings(statement.handle)
            statements[sql] = statement
        }
        guard Int(sqlite3_bind_parameter_count(statement.handle)) == values.count else {
            throw FleetError(.internalError, "the statement takes another number of values: \(sql)")
        }
        for (index, value) in values.enumerated() {
            let code = statement.bind(value?.sqliteValue ?? .null, at: Int32(index + 1))
            guard code == SQLITE_OK else { throw failure(code, sql) }
        }
        return try body(statement)
    }

    private func prepare(_ sql: String) throws(FleetError) -> Statement {
        var statement: OpaquePointer?
        // "SQLITE_PREPARE_PERSISTENT is a hint to the query planner that the prepared statement will be retained for a
        // long time and probably reused many times."
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw failure(code, sql) }
        return Statement(owning: statement)
    }

    private func step(_ statement: Statement) throws(FleetError) -> Bool {
        switch sqlite3_step(statement.handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw failure(code, String(cString: sqlite3_sql(statement.handle)))
        }
    }

    private func failure(_ code: Int32, _ sql: String) -> FleetError {
        // The verb and the table are enough to find the statement; the whole of it is noise to an operator.
        let act = sql.split(whereSeparator: \.isWhitespace).prefix(3).joined(separator: " ").lowercased()
        return FleetError(sqlite: code, act, message: String(cString: sqlite3_errmsg(handle)))
    }
}

internal import CSQLite
public import FleetSystem

extension FleetError.Code {
    /// SQLite failed in a way that has no code of its own.
    public static let database: Self = "database"
    /// Another process holds the database.
    public static let databaseBusy: Self = "database-busy"
    /// The file is damaged, or is no SQLite database.
    public static let databaseCorrupt: Self = "database-corrupt"
    /// A rule of the schema other than uniqueness was violated: a foreign key, a CHECK, a NOT NULL, a trigger.
    public static let conflict: Self = "conflict"
    /// The schema was made by another version of the program.
    public static let schemaMismatch: Self = "schema-mismatch"
}

extension FleetError {
    /// The meaning of an extended result code. `message` is SQLite's own (sqlite3_errmsg): it names tables, columns and
    /// constraints, never bound values.
    ///
    /// Source: https://www.sqlite.org/rescode.html
    init(sqlite code: Int32, _ act: String, message: String) {
        // "The primary result code is the least significant 8 bits of the extended result code."
        let primary = code & 0xff
        let text = "\(act): \(message)"
        switch primary {
        case SQLITE_BUSY, SQLITE_LOCKED:
            self.init(
                .databaseBusy, text, hint: "another process has the database open; look for a second coordinator",
                retryable: true)
        case SQLITE_FULL:
            self.init(.noSpace, text, hint: "free some space on that file system, then try again")
        case SQLITE_CONSTRAINT where code == fleetConstraintUnique || code == fleetConstraintPrimaryKey:
            self.init(.alreadyExists, text)
        case SQLITE_CONSTRAINT:
            self.init(.conflict, text)
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            self.init(
                .databaseCorrupt, text,
                hint: "keep the file for examination and rebuild the catalogue from the snapshot store")
        case SQLITE_PERM, SQLITE_READONLY, SQLITE_AUTH:
            self.init(.permissionDenied, text, hint: "give the coordinator's user the right to write the file")
        case SQLITE_CANTOPEN:
            self.init(.database, text, hint: "the directory must exist and belong to the coordinator's user")
        default:
            self.init(.database, "\(text) (SQLite code \(code))")
        }
    }
}

// Macros with shifts, which Swift does not import: SQLITE_CONSTRAINT | (8<<8), SQLITE_CONSTRAINT | (6<<8).
private let fleetConstraintUnique = SQLITE_CONSTRAINT | (8 << 8)
private let fleetConstraintPrimaryKey = SQLITE_CONSTRAINT | (6 << 8)

private import FleetCrypto
public import FleetSystem

/// One named step of a schema's history. Once released, its text never changes: what a database was made with is
/// compared with what the program says, by digest.
public struct Migration: Sendable {
    public let name: String
    public let sql: String

    public init(_ name: String, _ sql: String) {
        self.name = name
        self.sql = sql
    }

    /// SHA-256 of the text, lower-case hexadecimal.
    public var checksum: String { SHA256.hash(Array(sql.utf8)).hex }
}

extension SQLiteConnection {
    /// Brings the database to the last of `migrations`, each in a transaction of its own, and says which were run.
    ///
    /// - Throws: `schema-mismatch` where the database has a migration that this program does not know (a newer version
    ///   made it) or knows with another text, or in another order.
    @discardableResult
    public func migrate(_ migrations: [Migration], now: Timestamp = .now()) throws(FleetError) -> [String] {
        try run(
            """
            CREATE TABLE IF NOT EXISTS migrations (
                position INTEGER PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                checksum TEXT NOT NULL,
                applied INTEGER NOT NULL
            ) STRICT
            """)
        let applied: [(name: String, checksum: String)] = try all(
            "SELECT name, checksum FROM migrations ORDER BY position"
        ) { row throws(FleetError) in (try row["name"], try row["checksum"]) }
        for (index, old) in applied.enumerated() {
            guard index < migrations.count else {
                throw FleetError(
                    .schemaMismatch, "the database has the migration \(old.name), which this version does not know",
                    hint: "a newer version made this database: run that one, or go back to a copy made before")
            }
            guard migrations[index].name == old.name, migrations[index].checksum == old.checksum else {
                throw FleetError(
                    .schemaMismatch,
                    "migration \(index + 1) of the database is not the \(migrations[index].name) of this version",
                    hint: "this database was made by another build; run the version that made it")
            }
        }
        var done: [String] = []
        for (index, migration) in migrations.enumerated().dropFirst(applied.count) {
            do throws(FleetError) {
                try transaction { () throws(FleetError) in
                    try script(migration.sql)
                    try run(
                        "INSERT INTO migrations (position, name, checksum, applied) VALUES (?, ?, ?, ?)", index + 1,
                        migration.name, migration.checksum, now)
                }
            } catch { throw error.during("migration \(migration.name)") }
            done.append(migration.name)
        }
        return done
    }
}

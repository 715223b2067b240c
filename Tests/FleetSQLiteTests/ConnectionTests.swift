import FleetSystem
import Testing

@testable import FleetSQLite

@Suite("SQLite connection")
struct ConnectionTests {
    private func memory() throws -> SQLiteConnection {
        let db = try SQLiteConnection(.memory)
        try db.script(
            """
            CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB, flag INTEGER, at INTEGER) STRICT;
            CREATE TABLE child (t INTEGER NOT NULL REFERENCES t (id)) STRICT;
            """)
        return db
    }

    private func code(_ body: () throws -> Void) -> FleetError.Code? {
        do { try body() } catch { return FleetError(error).code }
        return nil
    }

    @Test func everyTypeComesBackAsItWentIn() throws {
        let db = try memory()
        let time = Timestamp(milliseconds: -12_345)
        try db.run(
            "INSERT INTO t (id, name, data, flag, at) VALUES (?, ?, ?, ?, ?)", Int64.min, "a\0ü", [0, 255] as [UInt8],
            true, time)
        try db.run("INSERT INTO t (id, name, data) VALUES (?, ?, ?)", 2, "", [] as [UInt8])
        let found = try db.first("SELECT * FROM t WHERE name = ?", "a\0ü") { row throws(FleetError) in
            let id: Int64 = try row["id"]
            let data: [UInt8] = try row["data"]
            let flag: Bool = try row["flag"]
            let at: Timestamp = try row["at"]
            return (id, data, flag, at)
        }
        #expect(found?.0 == .min)
        #expect(found?.1 == [0, 255])
        #expect(found?.2 == true)
        #expect(found?.3 == time)
        let empty = try db.first("SELECT name, data, at FROM t WHERE id = 2") { row throws(FleetError) in
            let name: String? = try row["name"]
            let data: [UInt8]? = try row["data"]
            let at: Timestamp? = try row["at"]
            return (name, data, at)
        }
        #expect(empty?.0 == "")
        #expect(empty?.1 == [])
        #expect(empty?.2 == nil)
    }

    @Test func aValueOfAnotherTypeIsAnError() throws {
        let db = try memory()
        try db.run("INSERT INTO t (id, name) VALUES (1, NULL)")
        #expect(
            code {
                _ = try db.first("SELECT name FROM t") { row throws(FleetError) in
                    let name: String = try row["name"]
                    return name
                }
            } == .databaseCorrupt)
        #expect(
            code {
                _ = try db.first("SELECT name FROM t") { row throws(FleetError) in
                    let name: String? = try row["nam"]
                    return name
                }
            } == .internalError)
        #expect(code { try db.run("INSERT INTO t (id) VALUES (?)") } == .internalError)
    }

    @Test func constraintsHaveCodes() throws {
        let db = try memory()
        try db.run("INSERT INTO t (id, name) VALUES (1, 'x')")
        #expect(code { try db.run("INSERT INTO t (id, name) VALUES (2, 'x')") } == .alreadyExists)
        #expect(code { try db.run("INSERT INTO t (id, name) VALUES (1, 'y')") } == .alreadyExists)
        #expect(code { try db.run("INSERT INTO child VALUES (7)") } == .conflict)
        #expect(code { try db.run("INSERT INTO child VALUES (NULL)") } == .conflict)
        #expect(code { try db.run("SELECT \"no such column\" FROM t") } == .database)
    }

    @Test func aTransactionIsAllOrNothing() throws {
        let db = try memory()
        let error = code {
            try db.transaction { () throws(FleetError) in
                try db.run("INSERT INTO t (id) VALUES (1)")
                throw FleetError(.cancelled, "no")
            }
        }
        #expect(error == .cancelled)
        #expect(!db.isInTransaction)
        #expect(try count(db) == 0)
        try db.transaction { () throws(FleetError) in try db.run("INSERT INTO t (id) VALUES (1)") }
        #expect(try count(db) == 1)
        #expect(
            code {
                try db.transaction { () throws(FleetError) in try db.transaction { () throws(FleetError) in () } }
            } == .internalError)
    }

    @Test func aQueryInsideAQueryOfTheSameText() throws {
        let db = try memory()
        for id in 1...3 { try db.run("INSERT INTO t (id) VALUES (?)", id) }
        let sql = "SELECT id FROM t ORDER BY id"
        let counts = try db.all(sql) { row throws(FleetError) in
            try db.all(sql) { inner throws(FleetError) in
                let id: Int = try inner["id"]
                return id
            }.count
        }
        #expect(counts == [3, 3, 3])
    }

    @Test func theFileIsPrivateAndDurable() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c.db"
        let db = try SQLiteConnection(.file(path))
        try db.run("CREATE TABLE t (id INTEGER) STRICT")
        for name in ["c.db", "c.db-wal", "c.db-shm"] {
            #expect(try FileSystem.status(directory.path + "/" + name)?.mode == 0o600)
        }
        for (pragma, value) in [("synchronous", 2), ("foreign_keys", 1), ("recursive_triggers", 1)] {
            let found = try db.first("PRAGMA \(pragma)") { row throws(FleetError) in
                let value: Int = try row[pragma]
                return value
            }
            #expect(found == value, "\(pragma)")
        }
        db.close()
        #expect(code { try db.run("SELECT 1") } == "stopping")
    }

    @Test func aSecondWriterIsToldSo() throws {
        let directory = try TemporaryDirectory()
        let first = try SQLiteConnection(.file(directory.path + "/c.db"))
        let second = try SQLiteConnection(.file(directory.path + "/c.db"), busyTimeout: .milliseconds(1))
        try first.run("BEGIN IMMEDIATE")
        let error = #expect(throws: FleetError.self) { try second.run("BEGIN IMMEDIATE") }
        #expect(error?.code == .databaseBusy)
        #expect(error?.isRetryable == true)
    }

    @Test func whatIsNoDatabaseIsRefused() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/c.db"
        try FileSystem.writeDurably(path, [UInt8](repeating: 0x41, count: 5000))
        #expect(code { _ = try SQLiteConnection(.file(path)) } == .databaseCorrupt)
        #expect(code { _ = try SQLiteConnection(.file(directory.path + "/no/c.db")) } == .notFound)
    }

    @Test func aFullDatabaseIsNoSpace() throws {
        let db = try memory()
        try db.script("PRAGMA max_page_count = 8")
        let error = code {
            try db.transaction { () throws(FleetError) in
                for id in 0..<100 {
                    try db.run("INSERT INTO t (id, data) VALUES (?, ?)", id, [UInt8](repeating: 1, count: 4000))
                }
            }
        }
        #expect(error == .noSpace)
        #expect(!db.isInTransaction)
        #expect(try count(db) == 0)
    }

    private func count(_ db: SQLiteConnection) throws -> Int? {
        try db.first("SELECT count(*) AS n FROM t") { row throws(FleetError) in try row["n"] }
    }
}

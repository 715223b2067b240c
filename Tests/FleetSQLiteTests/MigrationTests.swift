import FleetSystem
import Testing

@testable import FleetSQLite

@Suite("Migrations")
struct MigrationTests {
    private let one = Migration("one", "CREATE TABLE a (x INTEGER) STRICT;")
    private let two = Migration("two", "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO b VALUES (1);")

    @Test func eachRunsOnce() throws {
        let db = try SQLiteConnection(.memory)
        #expect(try db.migrate([one]) == ["one"])
        #expect(try db.migrate([one, two]) == ["two"])
        #expect(try db.migrate([one, two]) == [])
    }

    @Test func aFailedOneLeavesNothing() throws {
        let db = try SQLiteConnection(.memory)
        let bad = Migration("bad", "CREATE TABLE c (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1);")
        #expect(throws: FleetError.self) { try db.migrate([one, bad]) }
        #expect(try db.migrate([one, two]) == ["two"])
        #expect(throws: FleetError.self) { try db.run("INSERT INTO c VALUES (1)") }
    }

    @Test(arguments: [["one"], ["one", "changed"], ["two", "one"]])
    func anotherHistoryIsRefused(_ names: [String]) throws {
        let db = try SQLiteConnection(.memory)
        try db.migrate([one, two])
        let known = ["one": one, "two": two, "changed": Migration("two", two.sql + "\n")]
        let error = #expect(throws: FleetError.self) { try db.migrate(names.map { known[$0]! }) }
        #expect(error?.code == .schemaMismatch)
    }
}

import FleetProtocol
import FleetSQLite
import FleetSystem

/// Inventory and history. One actor, one thread, one connection: every function runs to its end without an `await`,
/// so what is checked is still true when it is acted on, and a transaction never spans a suspension.
///
/// Functions that change something write the audit event in the same transaction. All throw `FleetError`; besides the
/// codes they name, `database`, `database-busy`, `database-corrupt` and `no-space`.
actor Catalogue {
    nonisolated let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let db: SQLiteConnection
    let log: Log
    /// The chain as far as `auditSummary` has walked it.
    var summary = AuditWalk()
    /// By the operator; "" is that of strangers.
    var refusals: [String: RefusalBudget] = [:]
    /// When this process began: what nobody could tell it before counts from here.
    let opened: Timestamp
    private let clock: @Sendable () -> Timestamp

    /// Opens and migrates; blocks, so it belongs before the coordinator serves.
    init(
        _ location: SQLiteConnection.Location, log: Log = .silent,
        clock: @escaping @Sendable () -> Timestamp = { .now() }
    ) throws(FleetError) {
        executor = ThreadExecutor(name: "catalogue")
        db = try SQLiteConnection(location)
        self.log = log
        self.clock = clock
        opened = clock()
        let applied = try db.migrate(Schema.migrations, now: clock())
        if !applied.isEmpty { log.info("catalogue migrated", ["migrations": applied.joined(separator: ", ")]) }
    }

    /// After this every function throws `internal`.
    func close() { db.close() }

    var now: Timestamp { clock() }

    /// An id that neither a job nor a snapshot has.
    func newIdentifier() throws(FleetError) -> String {
        // Four random characters a second are not enough for a fleet whose jobs are all made in the same second.
        while true {
            let id = Identifier.make(at: now)
            let taken: Int? = try db.first(
                """
                SELECT 1 AS taken FROM jobs WHERE id = ?1 OR snapshot = ?1 UNION ALL
                SELECT 1 FROM snapshots WHERE id = ?1 UNION ALL SELECT 1 FROM member_restores WHERE id = ?1
                UNION ALL SELECT 1 FROM replacements WHERE id = ?1
                """, id
            ) { row throws(FleetError) in try row["taken"] }
            if taken == nil { return id }
        }
    }

    // MARK: settings

    func setting(_ name: String) throws(FleetError) -> String? {
        try db.first("SELECT value FROM settings WHERE name = ?", name) { row throws(FleetError) in try row["value"] }
    }

    func set(_ name: String, _ value: String) throws(FleetError) {
        try db.run(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name, value)
    }
}

/// JSON columns.
extension SQLiteRow {
    func json<Value: Decodable>(_ type: Value.Type, _ column: String) throws(FleetError) -> Value? {
        let text: String? = try self[column]
        guard let text else { return nil }
        do throws(FleetError) { return try JSON.decode(type, from: Array(text.utf8)) } catch {
            throw error.during("column \(column)")
        }
    }
}

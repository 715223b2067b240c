import FleetProtocol
import FleetRepository
import FleetSystem
import Testing

@testable import FleetCoordinator

/// A store in which a test does what another thread, or the disk, might do just then; what a hook throws, the call throws.
final class HookedStore: SnapshotStore, StoreUpkeep {
    typealias Hook = @Sendable () throws -> Void

    struct Hooks: Sendable {
        /// Before an incoming snapshot is begun.
        var begin: Hook?
        var open: Hook?
        /// Before a snapshot is deleted.
        var delete: Hook?
        /// When the names of all snapshots are known, and not yet told.
        var named: Hook?
        /// When a check is done, and what it found not yet told.
        var checked: Hook?
    }
    let hooks = Monitor(Hooks())
    private let inner: RepositoryStore

    init(_ inner: RepositoryStore) { self.inner = inner }

    func on(_ place: WritableKeyPath<Hooks, Hook?>, _ hook: Hook?) {
        hooks.withLock { $0[keyPath: place] = hook }
    }

    private func reach(_ place: KeyPath<Hooks, Hook?>) throws(FleetError) {
        do { try hooks.withLock({ $0[keyPath: place] })?() } catch { throw FleetError(error) }
    }

    func begin(_ key: String, cluster: String, node: String) throws(FleetError) -> any IncomingSnapshot {
        try reach(\.begin)
        return try inner.begin(key, cluster: cluster, node: node)
    }
    func incoming() throws(FleetError) -> [String] { try inner.incoming() }
    func discard(_ key: String, isUnreadable: Bool) throws(FleetError) {
        try inner.discard(key, isUnreadable: isUnreadable)
    }
    func ids() throws(FleetError) -> [String] {
        let ids = try inner.ids()
        try reach(\.named)
        return ids
    }
    func list() throws(FleetError) -> StoreListing { try inner.list() }
    func open(_ id: String) throws(FleetError) -> any StoredSnapshot {
        try reach(\.open)
        return try inner.open(id)
    }
    func delete(_ id: String) throws(FleetError) {
        try reach(\.delete)
        try inner.delete(id)
    }
    func verify(_ id: String) throws(FleetError) -> StoreVerdict { try inner.verify(id) }
    func recover() throws(FleetError) -> [String] { try inner.recover() }
    func freeSpace() throws(FleetError) -> Int64 { try inner.freeSpace() }
    func usedSpace() throws(FleetError) -> Int64 { try inner.usedSpace() }

    func check(readData: Bool) throws(FleetError) -> StoreCheckReply {
        let reply = try inner.check(readData: readData)
        try reach(\.checked)
        return reply
    }
    func path(_ id: String) -> String { inner.path(id) }
    func statistics() throws(FleetError) -> StoreStatistics { try inner.statistics() }
    func collect(dryRun: Bool) throws(FleetError) -> StoreCollectReply { try inner.collect(dryRun: dryRun) }
}

/// Does what awaits on a thread that waits for it, as that of a hook may.
func meanwhile(_ body: @escaping @Sendable () async throws -> Void) {
    let ended = Monitor(false)
    Task.detached {
        do { try await body() } catch { Issue.record(error) }
        ended.withLock { $0 = true }
        ended.broadcast()
    }
    #expect(ended.waiting(seconds: 20, until: \.self) { _, isReady in isReady })
}

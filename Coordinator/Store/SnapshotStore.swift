import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSystem

/// Where snapshots are kept. Every function blocks and may be called from any thread.
///
/// The contract, which one test suite checks for every implementer:
/// - An *incoming* snapshot is known by a key of the uploader's and is in no listing. Its bytes survive the process;
///   whoever begins the same key again goes on behind them. One key has one writer: beginning it again takes it away
///   from the former, whose calls then throw `cancelled`.
/// - `commit` makes it visible under its record's id, whole or not at all, and returns only when both the bytes and the
///   record would survive a power cut. After that it never changes.
/// - Nothing of a snapshot is ever on the disk in the clear.
/// - A crash at any moment leaves every committed snapshot readable and no half one visible. What a crash left behind
///   takes space until it is collected, and nothing else.
/// - The records alone are enough to rebuild the catalogue.
/// - Ids and keys are checked with `Identifier.isValid` before they come near a path.
///
/// Errors: `not-found`, `already-exists`, `malformed` for an id that is none, `no-space`, `system`.
protocol SnapshotStore: Sendable {
    /// Begins an incoming snapshot, or goes on with one. It will resemble those of its cluster, most of all the node's
    /// own: that is a hint for the store, the record of `commit` is what counts.
    func begin(_ key: String, cluster: String, node: String) throws(FleetError) -> any IncomingSnapshot

    /// The keys of the incoming ones.
    func incoming() throws(FleetError) -> [String]

    /// Forgets an incoming one; what is not there is fine. `isUnreadable`: it can't be read back, so what comes next
    /// shares nothing with it, nor with what it shared.
    func discard(_ key: String, isUnreadable: Bool) throws(FleetError)

    /// Of all committed snapshots, whether they can be read or not.
    func ids() throws(FleetError) -> [String]

    /// All committed snapshots by id, and what is wrong with entries that can't be read: one odd entry never hides the
    /// others.
    func list() throws(FleetError) -> StoreListing

    func open(_ id: String) throws(FleetError) -> any StoredSnapshot

    /// At once, whole; what is not there is fine. The space comes back when it is collected. Whoever keeps another list
    /// of snapshots strikes it off only after this.
    func delete(_ id: String) throws(FleetError)

    /// Reads all of it and compares it with its record. What is wrong with the snapshot is the answer; only what stops
    /// the examination is thrown.
    func verify(_ id: String) throws(FleetError) -> StoreVerdict

    /// After a start: finishes what a crash interrupted. Returns paths of files that were put aside, where there are any.
    func recover() throws(FleetError) -> [String]

    /// Bytes that can still be stored.
    func freeSpace() throws(FleetError) -> Int64

    /// Bytes that the store takes on its file system.
    func usedSpace() throws(FleetError) -> Int64
}

extension SnapshotStore {
    func discard(_ key: String) throws(FleetError) { try discard(key, isUnreadable: false) }
}

/// The bytes of a snapshot, arriving or stored: page by page, or all of them.
protocol StoredPageSource: PageSource {
    /// In order, each byte as it is stored: what happens to be in memory is read again.
    func readAll(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError)
}

/// A snapshot that is arriving. Used by one caller at a time.
protocol IncomingSnapshot: AnyObject, Sendable {
    /// Bytes that are there; at the beginning, all of them are on the disk.
    var length: Int64 { get }
    /// Gives all bytes that are there, in order, to `body`.
    func readBack(_ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void) throws(FleetError)
    func append(_ bytes: UnsafeRawBufferPointer) throws(FleetError)
    /// All that is there now, for who looks at it before it is committed; durable when this returns. Good until this is
    /// closed or committed.
    func pages() throws(FleetError) -> any StoredPageSource
    /// Makes it the snapshot that `record` describes; see the contract. This object is used up by it.
    func commit(_ record: SnapshotRecord) throws(FleetError)
    /// Forgets it. Throws `cancelled` where it is another's by now, whose bytes stay.
    func discard(isUnreadable: Bool) throws(FleetError)
    /// Lets go of it; the bytes stay for the next `begin`.
    func close()
}

/// A committed snapshot that is being read; closed when it is let go.
protocol StoredSnapshot: AnyObject, Sendable {
    var record: SnapshotRecord { get }
    /// Fills `buffer` from `offset` on; fewer bytes only at the end, 0 behind it.
    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FleetError) -> Int
    /// The same bytes, for who looks into it.
    var pages: any StoredPageSource { get }

    /// Writes all of it, in any order, and returns the SHA-256 of what was written, as it reads back.
    func write(to target: any SnapshotTarget) throws(FleetError) -> [UInt8]
}

struct StoreListing: Sendable, Equatable {
    struct Problem: Sendable, Equatable {
        var id: String
        var error: FleetError
    }
    var records: [SnapshotRecord] = []
    /// `not-found`: the record is there, the bytes are not. Others: the record can't be read, or the length is wrong.
    var problems: [Problem] = []
}

/// What is wrong with a stored snapshot; nothing, where it is sound.
struct StoreVerdict: Sendable, Equatable {
    var findings: [FleetError] = []
    var isSound: Bool { findings.isEmpty }
}

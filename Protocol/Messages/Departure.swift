public import FleetSystem

/// The restore or undo by which a cluster's data left the history that a snapshot is of: what is there now does not go on from
/// that snapshot, nor from anything that came of it.
public struct Departure: Codable, Sendable, Equatable {
    public var job: String
    /// Of an undo: the restore that it took back.
    public var undoes: String?
    /// What the restore put in force; of an undo, what the restore that it took back had.
    public var snapshot: String
    /// When it ended.
    public var time: Timestamp

    public init(job: String, undoes: String? = nil, snapshot: String, time: Timestamp) {
        self.job = job
        self.undoes = undoes
        self.snapshot = snapshot
        self.time = time
    }
}

public import FleetSystem

/// Whether a snapshot of the catalogue can be restored.
public enum SnapshotCondition: String, Codable, Sendable {
    /// Its file was whole and sound when it was stored: length and digests, every page, key and value, and etcd's own
    /// tool, the agent and the coordinator say the same of it.
    case verified
    /// The row is there, the file is not.
    case missing
    /// The file is there and is not what was stored, or had something wrong in it when it came.
    case damaged
    /// It is whole, and of another etcd cluster than the one whose name it was stored under, or of one that nothing
    /// tells.
    case foreign
}

/// A snapshot as the catalogue has it: the record that is also its manifest, and the condition of its file. In JSON
/// the fields of both stand in one object.
public struct SnapshotEntry: Codable, Sendable, Equatable {
    public var record: SnapshotRecord
    public var condition: SnapshotCondition
    /// Why it is not `verified`.
    public var problem: FleetError?
    /// Kept whatever the cluster's retention says.
    public var pinned: Bool
    /// nil: never drilled.
    public var drill: DrillRecord?

    public init(
        record: SnapshotRecord, condition: SnapshotCondition = .verified, problem: FleetError? = nil,
        pinned: Bool = false, drill: DrillRecord? = nil
    ) {
        self.record = record
        self.condition = condition
        self.problem = problem
        self.pinned = pinned
        self.drill = drill
    }

    /// "verified, pinned, before restore 20261124-065510-k3f9"
    public var state: String {
        condition.rawValue + (pinned ? ", pinned" : "") + (record.beforeRestore.map { ", before restore \($0)" } ?? "")
    }

    private enum CodingKeys: String, CodingKey { case condition, problem, pinned, drill, decryption }

    public init(from decoder: any Decoder) throws {
        record = try SnapshotRecord(from: decoder)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        condition = try fields.decode(SnapshotCondition.self, forKey: .condition)
        problem = try fields.decodeIfPresent(FleetError.self, forKey: .problem)
        pinned = try fields.decodeIfPresent(Bool.self, forKey: .pinned) ?? false
        drill = try fields.decodeIfPresent(DrillRecord.self, forKey: .drill)
    }

    public func encode(to encoder: any Encoder) throws {
        try record.encode(to: encoder)
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(condition, forKey: .condition)
        try fields.encode(problem, forKey: .problem)
        try fields.encode(pinned, forKey: .pinned)
        try fields.encode(drill, forKey: .drill)
        // It follows from the record.
        try fields.encodeIfPresent(Decryption(of: record), forKey: .decryption)
    }
}

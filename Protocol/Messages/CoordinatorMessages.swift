public import FleetSystem

extension ControlMethod {
    /// Makes a copy of what the coordinator knows, in its repository, and gives it out: data, then `end` with `CoordinatorCopy`.
    public static let backUpCoordinator = "coordinator.backup"
    public static let listCoordinatorCopies = "coordinator.copies"
}

/// Settings, keys and catalogue of a coordinator at one moment, sealed: the recovery key opens it.
public struct CoordinatorCopy: Codable, Sendable, Equatable {
    public var name: String
    public var made: Timestamp
    /// Bytes.
    public var size: Int64
    public init(name: String, made: Timestamp, size: Int64) {
        self.name = name
        self.made = made
        self.size = size
    }
}

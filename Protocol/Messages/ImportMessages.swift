public import FleetSystem

extension ControlMethod {
    public static let importSnapshot = "snapshot.import"
}

/// Opens an import. The coordinator answers with a message `UploadOffset` (0), takes the file as data and `end` with
/// `StreamDigest`, and ends with the `SnapshotEntry` that it has become.
public struct ImportRequest: Codable, Sendable {
    public var cluster: String
    /// The file's name, without its directory.
    public var file: String
    public var size: Int64
    /// Of the whole file, so that what is stored already is refused before it is sent.
    public var sha256: String
    public var savedAt: Timestamp
    /// A stopped member's `member/snap/db`, which has no digest at its end.
    public var isRawDatabase: Bool

    public init(
        cluster: String, file: String, size: Int64, sha256: String, savedAt: Timestamp, isRawDatabase: Bool
    ) {
        self.cluster = cluster
        self.file = file
        self.size = size
        self.sha256 = sha256
        self.savedAt = savedAt
        self.isRawDatabase = isRawDatabase
    }
}

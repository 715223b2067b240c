public import FleetSystem

/// What operators ask of the store itself.
extension ControlMethod {
    public static let checkStore = "store.check"
    public static let storeStatistics = "store.stats"
    public static let collectStore = "store.gc"
}

public struct StoreCheckRequest: Codable, Sendable {
    /// Read every block, too: finds every flipped bit, and takes as long as reading the store.
    public var readData: Bool
    public init(readData: Bool) { self.readData = readData }
}

public struct StoreCheckReply: Codable, Sendable {
    /// Something that is wrong with a file, and the snapshots that can't be read because of it.
    public struct Finding: Codable, Sendable {
        public var path: String
        public var problem: FleetError
        public var snapshots: [String]
        public init(path: String, problem: FleetError, snapshots: [String]) {
            self.path = path
            self.problem = problem
            self.snapshots = snapshots
        }
    }
    public var findings: [Finding]
    public var snapshots: Int
    public var packs: Int
    /// Bytes of blocks that were read; 0 without `readData`.
    public var bytesRead: Int64
    /// Snapshots that were marked and count again; nil without `readData`.
    public var recovered: [String]?
    public init(
        findings: [Finding], snapshots: Int, packs: Int, bytesRead: Int64, recovered: [String]? = nil
    ) {
        self.recovered = recovered
        self.findings = findings
        self.snapshots = snapshots
        self.packs = packs
        self.bytesRead = bytesRead
    }
}

public struct StoreStatistics: Codable, Sendable {
    public struct Cluster: Codable, Sendable {
        public var name: String
        public var snapshots: Int
        /// Bytes of the snapshots as files, and of the packs that they need.
        public var bytes: Int64
        public var storedBytes: Int64
        public init(name: String, snapshots: Int, bytes: Int64, storedBytes: Int64) {
            self.name = name
            self.snapshots = snapshots
            self.bytes = bytes
            self.storedBytes = storedBytes
        }
    }
    public var snapshots: Int
    public var bytes: Int64
    public var storedBytes: Int64
    public var packs: Int
    /// Uploads that are under way or were interrupted.
    public var uploads: Int
    public var clusters: [Cluster]
    public init(
        snapshots: Int, bytes: Int64, storedBytes: Int64, packs: Int, uploads: Int, clusters: [Cluster]
    ) {
        self.snapshots = snapshots
        self.bytes = bytes
        self.storedBytes = storedBytes
        self.packs = packs
        self.uploads = uploads
        self.clusters = clusters
    }
}

public struct StoreCollectRequest: Codable, Sendable {
    public var dryRun: Bool
    public init(dryRun: Bool) { self.dryRun = dryRun }
}

/// What nothing needs any more; removed, unless it was a rehearsal.
public struct StoreCollectReply: Codable, Sendable {
    public var files: [String]
    public var fileBytes: Int64
    /// Inside of files that stay.
    public var blocks: Int
    public var blockBytes: Int64
    /// The file system can't give back parts of files; those blocks stay.
    public var cannotRelease: Bool
    public init(files: [String], fileBytes: Int64, blocks: Int, blockBytes: Int64, cannotRelease: Bool) {
        self.files = files
        self.fileBytes = fileBytes
        self.blocks = blocks
        self.blockBytes = blockBytes
        self.cannotRelease = cannotRelease
    }
}

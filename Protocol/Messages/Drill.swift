internal import FleetCrypto
public import FleetSystem

/// The proof that a snapshot restores: an agent restores it into a directory of its own, starts an etcd on that which
/// nothing else can reach, and tells what it finds. Whether that is right, the coordinator says.
extension Operation {
    public struct Drill: Codable, Sendable, Equatable {
        public var snapshot: SnapshotRecord
        /// What the scratch etcd and the tool that restores may take, each.
        public var memoryBytes: Int64
        /// 100 is one processor.
        public var cpuPercent: Int
        /// For all of it but the fetch, which takes as long as the network does.
        public var limitSeconds: Int

        public static let memoryRange: ClosedRange<Int64> = 128 << 20...256 << 30
        public static let cpuRange = 10...6400
        public static let limitRange = 30...86_400

        public init(snapshot: SnapshotRecord, memoryBytes: Int64, cpuPercent: Int, limitSeconds: Int) {
            self.snapshot = snapshot
            self.memoryBytes = memoryBytes
            self.cpuPercent = cpuPercent
            self.limitSeconds = limitSeconds
        }

        /// Whether a node may act on it: its fields become file names, limits and waits.
        public var isValid: Bool {
            Identifier.isValid(snapshot.id) && (1...(1 << 40)).contains(snapshot.size)
                && snapshot.facts.status.revision >= 0 && Self.memoryRange.contains(memoryBytes)
                && Self.cpuRange.contains(cpuPercent) && Self.limitRange.contains(limitSeconds)
        }
    }
}

/// Keys that were read back with their values, the first ones in the order of their bytes: their number, and the SHA-256
/// over them, in which no value can be seen.
public struct DrillSample: Codable, Sendable, Equatable {
    /// Keys that are read, at most.
    public static let limit = 16

    public var keys: Int
    /// Lower-case hexadecimal. Of each key in turn: lengths of key and value (u64, big-endian), revision that wrote it
    /// (u64, big-endian), key, value.
    public var sha256: String

    public init(keys: Int, sha256: String) {
        self.keys = keys
        self.sha256 = sha256
    }

    public init(_ keys: [(key: [UInt8], modRevision: Int64, value: [UInt8])]) {
        var hasher = SHA256()
        for one in keys {
            for number in [UInt64(one.key.count), UInt64(one.value.count), UInt64(bitPattern: one.modRevision)] {
                hasher.update((0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) })
            }
            hasher.update(one.key)
            hasher.update(one.value)
        }
        self.init(keys: keys.count, sha256: hasher.finalize().hex)
    }
}

/// What an agent found in a drill from the moment on when it began to restore. An outcome without it says nothing of the
/// snapshot: the drill was not possible, or was cut off before.
public struct DrillReport: Codable, Sendable, Equatable {
    /// As the restored etcd told them.
    public struct Figures: Codable, Sendable, Equatable {
        public var revision: Int64
        /// At the snapshot's revision.
        public var liveKeys: Int64
        public var hashKV: UInt32
        public var hashRevision: Int64
        /// nil without a compaction.
        public var compactRevision: Int64?
        public var sample: DrillSample

        public init(
            revision: Int64, liveKeys: Int64, hashKV: UInt32, hashRevision: Int64, compactRevision: Int64?,
            sample: DrillSample
        ) {
            self.revision = revision
            self.liveKeys = liveKeys
            self.hashKV = hashKV
            self.hashRevision = hashRevision
            self.compactRevision = compactRevision
            self.sample = sample
        }
    }

    /// The version that was started, "3.5.1".
    public var etcd: String
    /// What restored it, "etcdutl 3.5.1".
    public var tool: String
    /// How it was held down on its node, in words; also that it was not.
    public var limits: String
    public var restoreSeconds: Double?
    /// From its start until it answered a linearizable read.
    public var startSeconds: Double?
    /// From the beginning of the restore until all was read.
    public var seconds: Double
    /// nil where it did not come that far.
    public var figures: Figures?

    public init(
        etcd: String, tool: String, limits: String, restoreSeconds: Double? = nil, startSeconds: Double? = nil,
        seconds: Double = 0, figures: Figures? = nil
    ) {
        self.etcd = etcd
        self.tool = tool
        self.limits = limits
        self.restoreSeconds = restoreSeconds
        self.startSeconds = startSeconds
        self.seconds = seconds
        self.figures = figures
    }
}

/// What is known of a snapshot from its last drill.
public struct DrillRecord: Codable, Sendable, Equatable {
    public enum Verdict: String, Codable, Sendable { case proven, failed }

    public var snapshot: String
    public var job: String
    /// "cluster/node" of the agent.
    public var node: String
    public var finished: Timestamp
    public var verdict: Verdict
    /// Why it failed.
    public var problem: FleetError?
    public var report: DrillReport

    public init(
        snapshot: String, job: String, node: String, finished: Timestamp, verdict: Verdict, problem: FleetError?,
        report: DrillReport
    ) {
        self.snapshot = snapshot
        self.job = job
        self.node = node
        self.finished = finished
        self.verdict = verdict
        self.problem = problem
        self.report = report
    }
}

public struct DrillRequest: Codable, Sendable {
    /// A cluster's name, for its newest verified snapshot; else a snapshot's id or a unique beginning of it.
    public var name: String
    /// "node" or "cluster/node"; nil: the coordinator chooses.
    public var node: String?

    public init(name: String, node: String? = nil) {
        self.name = name
        self.node = node
    }
}

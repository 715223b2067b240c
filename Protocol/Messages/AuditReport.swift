public import FleetSystem

/// What an auditor asks of a fleet over some days. It is made from the events of the audit chain alone, up to one of them:
/// whoever has these events can make it again, byte for byte. All times are UTC; lengths of time are whole seconds unless
/// the name says otherwise.
public struct AuditReport: Codable, Sendable, Equatable {
    /// Of the program that made it.
    public var version: String
    public var made: Timestamp
    /// What happened from here on...
    public var since: Timestamp
    /// ...up to here is told.
    public var until: Timestamp
    /// Only these clusters, sorted by name; empty: all. What is of no cluster is told in any case.
    public var only: [String]
    public var chain: Chain
    /// What the chain does not tell as it should, and the reader has to know.
    public var notes: [String]
    /// By name.
    public var clusters: [Cluster]
    public var backups: ReportList<Backup>
    public var drills: ReportList<Drill>
    public var restores: ReportList<Restore>
    public var failures: ReportList<Failure>
    public var deletions: ReportList<Deletion>
    public var changes: ReportList<Act>
    /// How often an agent told of another version, etcd or data directory than before, which is not listed; nil: never, or it
    /// is among the changes.
    public var nodeChanges: Int?
    /// Acts that a rule forbade, or that went wrong.
    public var refusals: ReportList<Act>
    /// Certificates that have ended, or end within `certificateDays`; soonest first.
    public var certificates: ReportList<Certificate>

    /// How large the store was, as it was seen first on each day; nil where no event tells, or not all clusters are told of.
    public var storeSizes: [StoreSize]?

    public static let certificateDays = 90

    public struct StoreSize: Codable, Sendable, Equatable {
        /// Of the event that tells it.
        public static let action = "store.size"
        /// "2026-11-24"
        public var date: String
        /// On the disk.
        public var bytes: Int64
        public init(date: String, bytes: Int64) {
            self.date = date
            self.bytes = bytes
        }
    }

    /// The audit chain when the report was made.
    public struct Chain: Codable, Sendable, Equatable {
        /// Number of the last event that held, which is how many there are.
        public var height: Int64
        /// Its hash, lower-case hexadecimal.
        public var head: String
        /// Where the chain does not hold: the report tells of what was before that.
        public var firstBreak: AuditVerdict.Break?
        /// What is odd and breaks nothing.
        public var findings: [String]
        public init(height: Int64, head: String, firstBreak: AuditVerdict.Break?, findings: [String]) {
            self.height = height
            self.head = head
            self.firstBreak = firstBreak
            self.findings = findings
        }
    }

    public struct Cluster: Codable, Sendable, Equatable {
        public var name: String
        /// Since when the fleet knows it.
        public var known: Timestamp
        /// When it was removed; nil where it is there at the end.
        public var removed: Timestamp?
        /// The policy that it follows at the end.
        public var policy: String?
        /// Each value that the objective had, the one at the beginning first.
        public var objectives: [Objective]
        /// One for each day of the range.
        public var days: [Day]
        /// Of the newest verified backup at the end.
        public var newest: Timestamp?
        /// Backups that came and were verified, and those that failed, each attempt of them.
        public var backups: Int
        public var failed: Int
        /// Drills that proved a snapshot, and those that failed.
        public var proven: Int
        public var unproven: Int
        public var deleted: Int
        public var restores: Int
        /// Nothing but agents that are there to drill are in it: there is nothing to back up. nil: no.
        public var holdsNoEtcd: Bool?
        public init(name: String, known: Timestamp) {
            self.name = name
            self.known = known
            (objectives, days, backups, failed, proven, unproven, deleted, restores) = ([], [], 0, 0, 0, 0, 0, 0)
        }
    }

    public struct Objective: Codable, Sendable, Equatable {
        public var from: Timestamp
        /// nil: no policy demanded any.
        public var seconds: Int?
        public init(from: Timestamp, seconds: Int?) {
            self.from = from
            self.seconds = seconds
        }
    }

    /// A day in UTC, as far as it is in the range.
    public struct Day: Codable, Sendable, Equatable {
        public enum State: String, Codable, Sendable {
            /// At no moment was the newest verified backup older than the objective of that moment.
            case met
            case missed
            /// No objective on any part of the day.
            case free = "no-objective"
            /// The fleet did not know the cluster yet, or not any more.
            case unknown = "not-known"
        }
        /// "2026-11-24"
        public var date: String
        public var state: State
        /// The greatest age that the newest verified backup reached while there was an objective. Where there was no backup
        /// at all, since the fleet knows the cluster.
        public var worst: Int?
        /// How long it was older than its objective; nil where never.
        public var late: Int?
        public var backups: Int
        public var failed: Int
        /// Snapshots that were kept at its end, and the bytes of these as files.
        public var kept: Int
        public var keptBytes: Int64
        public init(date: String, state: State, worst: Int?, late: Int?) {
            self.date = date
            self.state = state
            self.worst = worst
            self.late = late
            (backups, failed, kept, keptBytes) = (0, 0, 0, 0)
        }
    }
}

/// Rows in the order of time. A report is bounded: where there are more than `limit`, the newest are listed and the others
/// are counted.
public struct ReportList<Row: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
    public var rows: [Row]
    public var leftOut: Int

    public init(_ rows: [Row] = [], leftOut: Int = 0) {
        self.rows = rows
        self.leftOut = leftOut
    }
}

public enum ReportLimits {
    public static let rows = 10_000
    /// Five years.
    public static let days = 1830
}

extension AuditReport {
    public init(
        version: String, made: Timestamp, since: Timestamp, until: Timestamp, only: [String], chain: Chain
    ) {
        self.version = version
        self.made = made
        self.since = since
        self.until = until
        self.only = only
        self.chain = chain
        (notes, clusters) = ([], [])
        backups = ReportList()
        drills = ReportList()
        restores = ReportList()
        failures = ReportList()
        deletions = ReportList()
        changes = ReportList()
        refusals = ReportList()
        certificates = ReportList()
    }

    /// The bytes that are signed and embedded: JSON, keys sorted, no white space, and neither '<' nor '>', so that they stand
    /// in a script element of HTML and in a comment of Markdown as they are.
    public func canonical() throws(FleetError) -> [UInt8] {
        var bytes: [UInt8] = []
        for byte in try JSON.encode(self) {
            switch byte {
            // In JSON both occur in strings only.
            case UInt8(ascii: "<"): bytes += #"\u003c"#.utf8
            case UInt8(ascii: ">"): bytes += #"\u003e"#.utf8
            default: bytes.append(byte)
            }
        }
        return bytes
    }
}

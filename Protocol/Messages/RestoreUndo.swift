public import FleetSystem

/// What can be done with the old data that a restore keeps: go back to it, or sign it off.
extension Operation {
    /// Puts back what a committed restore has switched, with the restore's own steps but for the preparation: the new
    /// directory is the old one. Its decisions, deadlines and ways back are those of a restore.
    public struct Undo: Codable, Sendable, Equatable {
        /// This node's own job of that restore: its journal there says what was switched.
        public var restored: String
        public var dryRun: Bool
        public var waitSeconds: Int
        /// All members with the ids that they had before; nil for a cluster of one.
        public var group: RestoreGroup?

        public init(restored: String, dryRun: Bool, waitSeconds: Int, group: RestoreGroup? = nil) {
            self.restored = restored
            self.dryRun = dryRun
            self.waitSeconds = waitSeconds
            self.group = group
        }
    }

    /// Removes the old directories that a restore (or an undo) has left on this node.
    public struct Cleanup: Codable, Sendable, Equatable {
        /// As for an undo.
        public var restored: String
        public var dryRun: Bool

        public init(restored: String, dryRun: Bool) {
            self.restored = restored
            self.dryRun = dryRun
        }
    }
}

/// The data that a restore is about to replace, saved on one of the nodes as a backup is.
public struct SafetySnapshot: Codable, Sendable, Equatable {
    /// The id that it will have.
    public var snapshot: String
    /// The one node that saves it.
    public var node: String
    public init(snapshot: String, node: String) {
        self.snapshot = snapshot
        self.node = node
    }
}

/// Revisions that only ever rise: who watches a restored cluster from a revision that it had before is told that it was
/// compacted and lists again, instead of being served another history under the same numbers.
public struct RevisionBump: Codable, Sendable, Equatable {
    /// The highest that the coordinator knows of the cluster.
    public var lastKnown: Int64
    /// The snapshot's.
    public var snapshot: Int64

    public init(lastKnown: Int64, snapshot: Int64) {
        self.lastKnown = lastKnown
        self.snapshot = snapshot
    }

    /// A cluster that writes a thousand times a second takes eleven days for it: so much may have been written since the
    /// last that is known.
    public static let margin: Int64 = 1_000_000_000
    public var amount: Int64 { max(0, lastKnown - snapshot) + Self.margin }
    public var target: Int64 { snapshot + amount }
    public var isValid: Bool { (0...1 << 60).contains(lastKnown) && (0...1 << 60).contains(snapshot) }
}

extension ControlMethod {
    /// The previews answer with the restore as it is now, or refuse as the act itself would: before anybody is asked.
    public static let previewUndo = "restore.undo.preview"
    public static let undoRestore = "restore.undo"
    public static let previewCleanup = "restore.cleanup.preview"
    public static let cleanUpRestore = "restore.cleanup"
}

public struct UndoRequest: Codable, Sendable {
    /// The restore's job, or a unique beginning of its id.
    public var job: String
    public var dryRun: Bool
    public var waitSeconds: Int
    public init(job: String, dryRun: Bool, waitSeconds: Int) {
        self.job = job
        self.dryRun = dryRun
        self.waitSeconds = waitSeconds
    }
}

public struct CleanupRequest: Codable, Sendable {
    public var job: String
    public var dryRun: Bool
    public init(job: String, dryRun: Bool) {
        self.job = job
        self.dryRun = dryRun
    }
}

/// What a committed restore has left, and what can still be done with it, as far as the coordinator was told: what
/// somebody removed by hand, the node finds out.
public struct RestoreAftermath: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable {
        /// The old data is kept and nothing came in between.
        case undoable
        case undone
        /// Something else has switched the cluster since, or may have.
        case overtaken
        /// The old data is gone from one node at least.
        case cleanedUp = "cleaned-up"
        /// An undo: it has data to clean up and no way back.
        case final
    }

    /// Where old directories are, or when they went.
    public struct Node: Codable, Sendable, Equatable {
        public var node: String
        public var directories: [String]
        /// nil: they are kept.
        public var cleanedUp: Timestamp?
        public init(node: String, directories: [String], cleanedUp: Timestamp? = nil) {
            self.node = node
            self.directories = directories
            self.cleanedUp = cleanedUp
        }
    }

    public var state: State
    /// The job that undid or overtook it.
    public var by: String?
    public var at: Timestamp?
    public var nodes: [Node]

    public init(state: State, by: String? = nil, at: Timestamp? = nil, nodes: [Node]) {
        self.state = state
        self.by = by
        self.at = at
        self.nodes = nodes
    }
}

public import FleetSystem

/// The rows of a report's lists.
extension AuditReport {
    /// A snapshot that came in the range.
    public struct Backup: Codable, Sendable, Equatable {
        public var snapshot: String
        public var cluster: String
        /// "backup", "import", "before-restore".
        public var kind: String
        public var node: String?
        public var job: String?
        /// Who asked for it: "coordinator" where a policy did.
        public var by: String
        public var saved: Timestamp
        public var stored: Timestamp
        public var size: Int64
        public var sha256: String
        /// At the end of the range: "verified", "damaged", "missing", "foreign".
        public var condition: String
        /// When a drill proved it last.
        public var proven: Timestamp?
        public var deleted: Timestamp?
        public init(
            snapshot: String, cluster: String, kind: String, node: String?, job: String?, by: String, saved: Timestamp,
            stored: Timestamp, size: Int64, sha256: String, condition: String
        ) {
            self.snapshot = snapshot
            self.cluster = cluster
            self.kind = kind
            self.node = node
            self.job = job
            self.by = by
            self.saved = saved
            self.stored = stored
            self.size = size
            self.sha256 = sha256
            self.condition = condition
        }
    }

    public struct Drill: Codable, Sendable, Equatable {
        public var time: Timestamp
        public var cluster: String
        public var snapshot: String
        public var job: String
        /// "proven", "failed".
        public var verdict: String
        public var milliseconds: Int64
        /// The etcd that it was started with.
        public var etcd: String
        public var error: String?
        public init(
            time: Timestamp, cluster: String, snapshot: String, job: String, verdict: String, milliseconds: Int64,
            etcd: String, error: String?
        ) {
            self.time = time
            self.cluster = cluster
            self.snapshot = snapshot
            self.job = job
            self.verdict = verdict
            self.milliseconds = milliseconds
            self.etcd = etcd
            self.error = error
        }
    }

    /// What replaces the data of a cluster or of a member, or removes what such a thing has left.
    public struct Restore: Codable, Sendable, Equatable {
        public struct Step: Codable, Sendable, Equatable {
            public var time: Timestamp
            /// nil for what the coordinator decided for all nodes.
            public var node: String?
            public var what: String
            public var outcome: AuditOutcome
            public var detail: String?
            public init(time: Timestamp, node: String?, what: String, outcome: AuditOutcome, detail: String?) {
                self.time = time
                self.node = node
                self.what = what
                self.outcome = outcome
                self.detail = detail
            }
        }
        public struct Approval: Codable, Sendable, Equatable {
            public var time: Timestamp
            public var by: String
            public init(time: Timestamp, by: String) {
                self.time = time
                self.by = by
            }
        }
        public var id: String
        public var cluster: String
        /// "restore", "undo", "cleanup", "replace".
        public var kind: String
        /// It only planned.
        public var dryRun: Bool
        public var by: String
        public var asked: Timestamp
        public var snapshot: String?
        /// The restore that it undoes or cleans up.
        public var of: String?
        public var nodes: [String]
        /// Who said that it may be done, and to which plan.
        public var approvedBy: String?
        public var approvedPlan: String?
        /// Of a plan: who approved it.
        public var approvals: [Approval]
        public var steps: [Step]
        /// Steps beyond `stepLimit`, which are not listed.
        public var stepsLeftOut: Int
        /// nil: it was under way at the end.
        public var ended: Timestamp?
        /// "succeeded", "failed", "rolled-back", "stuck".
        public var state: String?
        public var error: String?

        public static let stepLimit = 500

        public init(
            id: String, cluster: String, kind: String, dryRun: Bool, by: String, asked: Timestamp, snapshot: String?,
            of: String?, nodes: [String]
        ) {
            self.id = id
            self.cluster = cluster
            self.kind = kind
            self.dryRun = dryRun
            self.by = by
            self.asked = asked
            self.snapshot = snapshot
            self.of = of
            self.nodes = nodes
            (approvals, steps, stepsLeftOut) = ([], [], 0)
        }
    }

    /// Something that failed, once or again and again, until it was well. What is done once ends as it fails, unless it is
    /// stuck or lost.
    public struct Failure: Codable, Sendable, Equatable {
        public var cluster: String
        /// "backup", "drill", "restore", "undo", "cleanup", "replace", "snapshot".
        public var kind: String
        /// A snapshot's id where it is one that can't be used any more; the id of an act that is done once.
        public var subject: String?
        public var since: Timestamp
        public var attempts: Int
        public var last: Timestamp
        /// Of the last attempt.
        public var code: String?
        public var error: String?
        /// nil: it still stood at the end.
        public var ended: Timestamp?
        /// What ended it: a job, or in words.
        public var endedBy: String?
        public init(cluster: String, kind: String, subject: String?, since: Timestamp) {
            self.cluster = cluster
            self.kind = kind
            self.subject = subject
            self.since = since
            (last, attempts) = (since, 0)
        }
    }

    public struct Deletion: Codable, Sendable, Equatable {
        public var time: Timestamp
        public var cluster: String
        public var snapshot: String
        public var by: String
        public var reason: String
        /// What it was before.
        public var condition: String
        public var saved: Timestamp?
        public var size: Int64?
        public init(
            time: Timestamp, cluster: String, snapshot: String, by: String, reason: String, condition: String,
            saved: Timestamp?, size: Int64?
        ) {
            self.time = time
            self.cluster = cluster
            self.snapshot = snapshot
            self.by = by
            self.reason = reason
            self.condition = condition
            self.saved = saved
            self.size = size
        }
    }

    /// An event of the chain as it stands.
    public struct Act: Codable, Sendable, Equatable {
        /// "people", "agents", "keys", "policies", "clusters", "data", "store", or the first part of the action.
        public var area: String
        public var sequence: Int64
        public var time: Timestamp
        public var actor: String
        public var action: String
        public var cluster: String?
        public var subject: String?
        public var outcome: AuditOutcome
        public var detail: [String: String]
        public init(_ event: AuditEvent, area: String) {
            self.area = area
            sequence = event.sequence
            time = event.time
            actor = event.actor
            action = event.action
            cluster = event.cluster
            subject = event.subject
            outcome = event.outcome
            detail = event.detail
        }
    }

    public struct Certificate: Codable, Sendable, Equatable {
        /// "agent", "operator", or "node" for one that etcd or its clients depend on.
        public var kind: String
        public var cluster: String?
        /// The node's or the operator's name.
        public var holder: String
        /// On the node.
        public var path: String?
        public var ends: Timestamp
        public init(kind: String, cluster: String?, holder: String, path: String?, ends: Timestamp) {
            self.kind = kind
            self.cluster = cluster
            self.holder = holder
            self.path = path
            self.ends = ends
        }
    }
}

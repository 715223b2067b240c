public import FleetProtocol
internal import FleetSystem

/// Something that needs attention, and what to do about it: what `fleetctl status` lists, and what alerts are sent of.
public struct Concern: Codable, Sendable, Equatable {
    /// What programs tell them apart by; the names are part of every alert.
    public enum Kind: String, Codable, Sendable, CaseIterable {
        case noAgent = "no-agent"
        case noBackup = "no-backup"
        case clockWrong = "clock-wrong"
        case objectiveBroken = "objective-broken"
        case backupFailed = "backup-failed"
        /// A restore, undo, cleanup or replacement.
        case jobFailed = "job-failed"
        case halfRestored = "half-restored"
        case drillFailed = "drill-failed"
        case snapshotUnusable = "snapshot-unusable"
        case foreignBackup = "foreign-backup"
        /// A restore or undo since has put other data in force than the latest backup is of.
        case noBackupSince = "no-backup-since-restore"
        case membersWithoutAgent = "members-without-agent"
        case taskWaiting = "task-waiting"
        case policyUnusable = "policy-unusable"
        /// A cluster that was backed up by itself is not any more.
        case noPolicy = "no-policy"
        /// Nothing is wrong where it is meant: no policy has it backed up, and none ever had.
        case unscheduled
        case memberMissed = "member-missed"
        case agentLost = "agent-lost"
        /// Nothing is wrong; the coordinator has just begun.
        case agentsAwaited = "agents-awaited"
        case agentCertificate = "agent-certificate"
        /// Of etcd, the control plane or the kubelet.
        case nodeCertificate = "node-certificate"
        case configurationNotKept = "configuration-not-kept"
        /// Values are encrypted at rest, and nothing that is kept with the newest snapshot decrypts them.
        case decryptionNotKept = "decryption-not-kept"
        case upgradeFellBack = "upgrade-fell-back"
        case etcdNotFound = "etcd-not-found"
        case etcdStopped = "etcd-stopped"
        case notRestorable = "not-restorable"
        case authorityEnds = "authority-ends"
        /// Nothing is wrong; somebody has to end it.
        case authorityRotation = "authority-rotation"
        case coordinatorCopy = "coordinator-copy"
        /// Nothing is wrong; people have to know it.
        case retentionWaits = "retention-waits"
        case auditBroken = "audit-broken"
        case storeFull = "store-full"
        case alertsHeld = "alerts-held"
        case alertUndelivered = "alert-undelivered"
        /// The coordinator can't tell what needs attention.
        case blind
    }

    public var kind: Kind
    public var cluster: String?
    public var node: String?
    /// What else tells it from others of its kind: a policy, a job, a day.
    public var subject: String?
    /// How bad it is, where that changes while the matter stays the same; more is worse.
    public var level: Int?
    /// What is wrong, on one line.
    public var text: String
    /// What to do.
    public var action: String?

    public init(
        _ kind: Kind, cluster: String? = nil, node: String? = nil, subject: String? = nil, level: Int? = nil,
        _ text: String, action: String? = nil
    ) {
        self.kind = kind
        self.cluster = cluster
        self.node = node
        self.subject = subject
        self.level = level
        self.text = text
        self.action = action
    }

    init(_ kind: Kind, agent: AgentRecord, _ text: String, action: String? = nil) {
        self.init(kind, cluster: agent.cluster, node: agent.node, text, action: action)
    }

    public var line: String { action.map { "\(text); \($0)" } ?? text }

    public var rank: Int { level ?? 0 }

    /// The same for the same matter, whatever its words and its level are by now.
    public var key: String {
        [kind.rawValue, cluster ?? "", node ?? "", subject ?? ""].joined(separator: "|")
    }
}

extension Concern {
    /// Those of `known` of which nothing can be said now: of a node whose agent is away, and what a coordinator that has just
    /// begun has had no time to find out. Pure.
    public static func unknown(of known: [Concern], in status: FleetStatus) -> [Concern] {
        let now = Set(all(status).map(\.key))
        let away = status.agents.filter { !$0.connected && $0.certificate?.revoked == nil }
        let awaited = Set(away.filter(status.awaits).map { [$0.cluster, $0.node] })
        let missing = Set(away.map { [$0.cluster, $0.node] })
        return known.filter { one in
            if now.contains(one.key) { return false }
            if status.isJustBegun, [.taskWaiting, .coordinatorCopy].contains(one.kind) { return true }
            guard let cluster = one.cluster, let node = one.node else { return false }
            switch one.kind {
            case .etcdStopped, .etcdNotFound, .configurationNotKept: return missing.contains([cluster, node])
            case .agentLost, .memberMissed: return awaited.contains([cluster, node])
            default: return false
            }
        }
    }

    /// What is as it may be meant, and people should know: nobody is called for it. Pure.
    public static func notices(_ status: FleetStatus) -> [Concern] { ofPolicies(status) }

    /// All that needs attention in the fleet as it is told here. Pure.
    public static func all(_ status: FleetStatus) -> [Concern] {
        status.clusters.flatMap { ofCluster($0, status) } + ofWork(status) + ofReturn(status)
            + status.agents.flatMap { ofAgent($0, status) }
            + ofCoordinator(status)
    }
}

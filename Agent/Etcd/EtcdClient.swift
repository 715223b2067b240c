internal import FleetProtocol
internal import FleetSystem

/// One etcd, asked through `etcdctl -w json`. Every call blocks and ends within its deadline, and at once where the node's etcd
/// is off.
struct EtcdClient: Sendable {
    /// The whole environment of the tools: nothing of the agent's own, so no inherited ETCDCTL_* either.
    static let environment = Subprocess.defaultEnvironment.merging(["ETCDCTL_API": "3"]) { $1 }

    var tool: EtcdTool
    var endpoint: String
    var cacert: String?
    var cert: String?
    var key: String?
    /// Where the endpoint's Unix socket is, for one that is named by it.
    var directory: String?
    /// The node's etcd, which is not asked where it is off; nil for a drill's own.
    private var instance: EtcdInstance?
    var absence = EtcdAbsence()

    /// - Parameter socket: "unix://localhost:2379" is the socket "localhost:2379" in `directory`.
    init(tool: EtcdTool, socket: String, directory: String) {
        self.tool = tool
        endpoint = socket
        self.directory = directory
    }

    init(tool: EtcdTool, instance: EtcdInstance) {
        self.tool = tool
        self.instance = instance
        endpoint = instance.endpoint
        (cacert, cert, key) = (instance.cacert, instance.cert, instance.key)
    }

    struct Status: Sendable, Equatable {
        var clusterID: UInt64
        var memberID: UInt64
        var revision: Int64
        var version: String
        var databaseSize: Int64
        /// 0 when there is none.
        var leader: UInt64
        var isLearner: Bool
        var errors: [String]
        /// Entries that are decided and not yet in its data.
        var lag: UInt64 = 0

        /// Some are always under way on a busy etcd.
        static let lagLimit: UInt64 = 5000

        var part: MemberPart {
            if isLearner { return .learner }
            if leader == 0 { return .leaderless }
            if leader == memberID { return .leader }
            return lag > Self.lagLimit ? .behind : .follower
        }
    }

    struct Member: Sendable, Equatable {
        var id: UInt64
        var name: String
        var peerURLs: [String]
        var isLearner: Bool
    }

    struct Alarm: Sendable, Equatable {
        enum Kind: Sendable, Equatable {
            case noSpace, corrupt
            case other(Int)
        }
        var member: UInt64
        var kind: Kind
    }

    /// - Throws: `unhealthy` when it does not answer.
    func status() throws(FleetError) -> Status {
        let output = try call(["endpoint", "status"])
        guard let answer = try JSON.decode([Answers.Endpoint].self, from: output).first?.status else {
            throw FleetError(
                .unhealthy, "etcd at \(endpoint) does not answer", hint: "start etcd, or see its own log for why",
                retryable: true)
        }
        return Status(
            clusterID: answer.header.clusterID ?? 0, memberID: answer.header.memberID ?? 0,
            revision: answer.header.revision ?? 0, version: answer.version ?? "", databaseSize: answer.dbSize ?? 0,
            leader: answer.leader ?? 0, isLearner: answer.isLearner ?? false, errors: answer.errors ?? [],
            lag: (answer.raftIndex ?? 0).subtractingSaturated(answer.raftAppliedIndex ?? answer.raftIndex ?? 0))
    }

    /// A linearizable read: it needs a leader and a quorum.
    ///
    /// - Throws: `unhealthy`.
    func checkHealth() throws(FleetError) {
        // It exits 1 when unhealthy; the answer itself says why.
        let outcome = try run(["endpoint", "health"], .seconds(20))
        let health = try? JSON.decode([Answers.Health].self, from: outcome.output).first
        guard (outcome.succeeded && health?.health == true) || servesBesideAlarm() else {
            throw FleetError(
                .unhealthy, "etcd at \(endpoint) is not healthy: \(health?.error ?? outcome.complaint)",
                hint: "see etcd's own log; a member without a quorum or with an alarm can't be served from",
                retryable: true)
        }
    }

    /// From 3.5 on etcdctl calls a member unhealthy for any alarm. With NOSPACE it refuses writes and serves all else; it is
    /// in many a snapshot, and the reason for many a restore.
    private func servesBesideAlarm() -> Bool {
        guard let alarms = try? alarms(), !alarms.isEmpty, alarms.allSatisfy({ $0.kind == .noSpace }) else {
            return false
        }
        return (try? call(["get", "health", "--keys-only"])) != nil
    }

    func members() throws(FleetError) -> [Member] {
        try JSON.decode(Answers.Members.self, from: try call(["member", "list"])).members.map {
            Member(id: $0.id, name: $0.name ?? "", peerURLs: $0.peerURLs ?? [], isLearner: $0.isLearner ?? false)
        }
    }

    /// - Throws: `unhealthy` with etcd's own words, as where it would cost the cluster its quorum.
    func removeMember(_ id: UInt64) throws(FleetError) {
        _ = try call(["member", "remove", String(id, radix: 16)])
    }

    /// A member that has all sent to it and counts for no quorum (etcd 3.4 and newer).
    ///
    /// - Returns: its id.
    func addLearner(_ name: String, peerURLs: [String]) throws(FleetError) -> UInt64 {
        let output = try call(["member", "add", name, "--learner", "--peer-urls=\(peerURLs.joined(separator: ","))"])
        return try JSON.decode(Answers.Added.self, from: output).member.id
    }

    /// - Throws: `unhealthy`, also as long as the learner has not caught up.
    func promoteMember(_ id: UInt64) throws(FleetError) {
        _ = try call(["member", "promote", String(id, radix: 16)])
    }

    func alarms() throws(FleetError) -> [Alarm] {
        (try JSON.decode(Answers.Alarms.self, from: try call(["alarm", "list"])).alarms ?? []).map {
            let kind: Alarm.Kind =
                switch $0.alarm ?? 0 {
                case 1: .noSpace
                case 2: .corrupt
                case let other: .other(other)
                }
            return Alarm(member: $0.memberID ?? 0, kind: kind)
        }
    }

    /// All alarms of all members.
    func disarm() throws(FleetError) { _ = try call(["alarm", "disarm"]) }

    /// Keys alive at a revision. One key is asked for; the answer counts all of the range (3.4 has no `--count-only`).
    func keyCount(revision: Int64) throws(FleetError) -> Int64 {
        let output = try call(["get", "", "--prefix", "--keys-only", "--limit=1", "--rev=\(revision)"])
        return try JSON.decode(Answers.Range.self, from: output).count ?? 0
    }

    /// The first keys in the order of their bytes, with their values. etcd takes values of 1.5 MB unless it is told
    /// otherwise, and base64 makes a third more of them.
    func firstKeys(_ count: Int, revision: Int64) throws(FleetError) -> [(
        key: [UInt8], modRevision: Int64, value: [UInt8]
    )] {
        let output = try call(
            ["get", "", "--prefix", "--limit=\(count)", "--rev=\(revision)"], limit: count * (3 << 20))
        var keys: [(key: [UInt8], modRevision: Int64, value: [UInt8])] = []
        for one in try JSON.decode(Answers.Range.self, from: output).kvs ?? [] {
            guard let key = [UInt8](base64: one.key), let value = [UInt8](base64: one.value ?? "") else {
                throw FleetError(.malformed, "etcdctl printed a key or value that is not base64")
            }
            keys.append((key, one.modRevision ?? 0, value))
        }
        return keys
    }

    /// The hash of all keys and values up to a revision, for comparing members.
    ///
    /// Before 3.4.27 and 3.5.10 etcd refuses the very revision that was compacted last, although it has all of it
    /// (etcd-io/etcd#14325). Asked for what is there now it hashes that, and says at which revision it was.
    ///
    /// - Throws: `revision-compacted`, also where such an etcd has gone on since; `unhealthy`.
    func hashKV(
        revision: Int64, deadline: Duration
    ) throws(FleetError) -> (hash: UInt32, compactRevision: Int64) {
        do throws(FleetError) { return try hash(upTo: revision, deadline).told } catch {
            guard error.code == .revisionCompacted else { throw error }
            let now = try hash(upTo: 0, deadline)
            guard now.at == revision else { throw error }
            return now.told
        }
    }

    /// - Parameter revision: 0: all that there is.
    /// - Returns: `at`: the newest revision at that moment.
    private func hash(
        upTo revision: Int64, _ deadline: Duration
    ) throws(FleetError) -> (told: (hash: UInt32, compactRevision: Int64), at: Int64?) {
        let output = try call(["endpoint", "hashkv", "--rev=\(revision)"], within: deadline)
        guard let answer = try JSON.decode([Answers.HashedEndpoint].self, from: output).first?.hash else {
            throw FleetError(
                .unhealthy, "etcd at \(endpoint) tells no hash", hint: "see etcd's own log", retryable: true)
        }
        return ((answer.hash ?? 0, answer.compactRevision ?? 0), answer.header?.revision)
    }

    /// etcd reads all of its database for a hash: generous as with a snapshot's tools, a slow disk of 5 MB/s.
    static func hashDeadline(_ databaseSize: Int64) -> Duration { .seconds(20 + databaseSize / 5_000_000) }

    /// Saves to `path`, which must not exist. etcdctl writes to `path`.part first.
    func saveSnapshot(to path: String, deadline: Duration) throws(FleetError) {
        let outcome = try run(["snapshot", "save", path], deadline)
        guard outcome.succeeded else {
            throw FleetError(
                .childFailed, "etcdctl snapshot save failed: \(outcome.complaint)",
                hint: "see etcd's own log; nothing was changed on this node", retryable: true)
        }
    }

    private static let patience = Duration.seconds(10)

    private func call(
        _ command: [String], limit: Int = 4 << 20, within patience: Duration = Self.patience
    ) throws(FleetError) -> [UInt8] {
        let outcome = try run(command, patience + .seconds(10), limit: limit, patience)
        guard outcome.succeeded else {
            let what = "etcdctl \(command.prefix(2).joined(separator: " ")) at \(endpoint): \(outcome.complaint)"
            if outcome.complaint.contains("required revision has been compacted") {
                throw FleetError(
                    .revisionCompacted, what, hint: "keep its clients away, they write or compact; then try again",
                    retryable: true)
            }
            throw FleetError(
                .unhealthy, what,
                hint: "see that etcd runs and that its certificates are valid for \(endpoint)", retryable: true)
        }
        return outcome.output
    }

    private func run(
        _ command: [String], _ deadline: Duration, limit: Int = 4 << 20, _ patience: Duration = Self.patience
    ) throws(FleetError) -> Subprocess.Outcome {
        if let instance, absence.isCertain(of: instance) { throw EtcdAbsence.error(instance) }
        var arguments = ["--endpoints=\(endpoint)", "--dial-timeout=5s", "--write-out=json"]
        if command.first != "snapshot" { arguments.append("--command-timeout=\(Int(patience.seconds))s") }
        if endpoint.hasPrefix("https:") {
            if let cacert { arguments.append("--cacert=\(cacert)") }
            if let cert { arguments.append("--cert=\(cert)") }
            if let key { arguments.append("--key=\(key)") }
        }
        return try Subprocess.run(
            tool.path, arguments + command, environment: Self.environment, directory: directory, deadline: deadline,
            outputLimit: limit)
    }
}

extension UInt64 {
    fileprivate func subtractingSaturated(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}

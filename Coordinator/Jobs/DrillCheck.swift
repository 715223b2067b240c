import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// What the restored etcd serves is not what was stored.
    static let drillDiffers: Self = "drill-differs"
}

/// What the coordinator itself has read in a snapshot and a drill has to find again; kept with the drill's job, never
/// told to the agent.
struct DrillExpectation: Codable, Sendable, Equatable {
    var revision: Int64
    var liveKeys: Int64
    var hashKV: UInt32
    var hashRevision: Int64
    var compactRevision: Int64?
    var sample: DrillSample
    /// Of the snapshot's etcd, for the words.
    var etcd: String
    /// Leases run anew from the start of the restored etcd: keys may go, and each that goes is a revision.
    var hasLeases: Bool

    /// - Throws: `snapshot-unusable` for a snapshot that could not be compared with anything.
    init(_ record: SnapshotRecord, sample: DrillSample) throws(FleetError) {
        func unusable(_ why: String, _ hint: String) -> FleetError {
            FleetError(.snapshotUnusable, "snapshot \(record.id) \(why)", hint: hint)
        }
        let again = "back the cluster up again, and drill that: fleetctl backup \(record.cluster)"
        guard let read = record.verification, let status = read.status else {
            throw unusable("was stored by a version that did not look into snapshots", again)
        }
        guard !read.authEnabled else {
            throw unusable(
                "has authentication on: a drill has no password for it",
                "restore it by hand on a spare host: fleetctl snapshot export \(record.id)")
        }
        guard let liveKeys = read.liveKeys, let hashKV = read.hashKV, let hashRevision = read.hashRevision else {
            throw unusable("has no count of keys or no HashKV to compare with", again)
        }
        revision = max(status.revision, hashRevision)
        // The mark of a bumped revision is a key that no client sees.
        self.liveKeys = read.isBumped ? liveKeys - 1 : liveKeys
        self.hashKV = hashKV
        self.hashRevision = hashRevision
        compactRevision = read.compactRevision
        self.sample = sample
        etcd = record.facts.etcdVersion
        hasLeases = read.leases > 0
    }
}

/// Whether a drill proves its snapshot. Pure: the agent tells what it found, and this decides.
enum DrillCheck {
    /// Why it does not; nil where it does.
    static func problem(_ report: DrillReport, _ expected: DrillExpectation) -> FleetError? {
        guard let found = report.figures else {
            return FleetError(
                .malformed, "the agent reported a drill without what it found", hint: "upgrade the agent")
        }
        var differences: [String] = []
        func compare<Value: Equatable>(_ name: String, _ found: Value?, _ expected: Value?) {
            guard found != expected else { return }
            func words(_ value: Value?) -> String { value.map { "\($0)" } ?? "none" }
            differences.append("\(name) \(words(found)) instead of \(words(expected))")
        }
        let isLater = expected.hasLeases && found.revision > expected.revision
        if !isLater { compare("revision", found.revision, expected.revision) }
        compare("live keys", found.liveKeys, expected.liveKeys)
        compare("revision of the HashKV", found.hashRevision, expected.hashRevision)
        compare("compacted revision", found.compactRevision, expected.compactRevision)
        compare("HashKV", found.hashKV, expected.hashKV)
        compare("keys read back", found.sample.keys, expected.sample.keys)
        if found.sample.keys == expected.sample.keys, found.sample != expected.sample {
            differences.append("the keys that were read back, or their values, are others")
        }
        guard !differences.isEmpty else { return nil }
        return FleetError(
            .drillDiffers, "the restored etcd is not what was stored: \(differences.joined(separator: "; "))",
            hint: hint(report.etcd, expected, onlyHash: differences.count == 1 && found.hashKV != expected.hashKV))
    }

    /// etcd before 3.5.16 and 3.4.34 hashes a deletion at the very revision that was compacted to; later ones, and the
    /// coordinator, don't. Older ones never keep such a deletion themselves, but a newer one's snapshot has it.
    private static func hint(_ version: String, _ expected: DrillExpectation, onlyHash: Bool) -> String {
        let parts = version.split(separator: ".").compactMap { Int($0) }
        let isOld =
            parts.count == 3 && parts[0] == 3 && (parts[1] == 5 && parts[2] < 16 || parts[1] == 4 && parts[2] < 34)
        if onlyHash, isOld, expected.compactRevision != nil {
            return
                "etcd \(version) may hash a compacted deletion otherwise: drill again with 3.5.16 or newer before you "
                + "distrust the snapshot"
        }
        return "drill another snapshot, and check the store: fleetctl store check --read-data"
    }
}

/// Which agent drills a snapshot. Pure.
enum DrillChoice {
    /// One that has no etcd of its own beside it before all others: it is there for that. The snapshot's own nodes come
    /// last, since they are control planes. Nodes of other clusters never without being named: they have no business with
    /// these Secrets.
    ///
    /// - Parameters:
    ///   - wanted: "node" or "cluster/node".
    ///   - busy: clusters with an open job.
    /// - Throws: `no-agent`, `ambiguous`, saying why.
    static func choose(
        _ agents: [AgentRecord], for record: SnapshotRecord, on wanted: String? = nil, busy: Set<String> = []
    ) throws(FleetError) -> AgentRecord {
        let need = RestoreGuard.Minor(
            record.facts.etcdVersion.isEmpty ? record.verification?.clusterVersion ?? "" : record.facts.etcdVersion)
        if let wanted {
            let named = agents.filter { $0.node == wanted || "\($0.cluster)/\($0.node)" == wanted }
            guard let agent = named.first else {
                throw FleetError(
                    .noAgent, "there is no agent on \(Names.quote(wanted))", hint: "see: fleetctl agent list")
            }
            guard named.count == 1 else {
                throw FleetError(
                    .ambiguous, "several clusters have a node \(wanted)",
                    hint: "name one: \(named.prefix(5).map { "\($0.cluster)/\($0.node)" }.joined(separator: ", "))")
            }
            if let obstacle = obstacle(agent, need) {
                throw FleetError(.noAgent, "\(wanted) can't drill: \(obstacle)", hint: hint(record, need))
            }
            return agent
        }
        let candidates = agents.filter { $0.isVerifier || $0.cluster == record.cluster }
        let able = candidates.filter { obstacle($0, need) == nil }
        func rank(_ agent: AgentRecord) -> (Int, Int, Int) {
            (agent.holdsNoEtcd ? 1 : 0, busy.contains(agent.cluster) ? 0 : 1, agent.isHeard(among: able) ? 1 : 0)
        }
        let best = able.max { a, b in
            rank(a) == rank(b) ? (a.cluster, a.node) > (b.cluster, b.node) : rank(a) < rank(b)
        }
        if let best { return best }
        let reasons = candidates.prefix(10).compactMap { agent in
            obstacle(agent, need).map { "\(agent.cluster)/\(agent.node): \($0)" }
        }
        throw FleetError(
            .noAgent,
            "no agent can drill snapshot \(record.id)"
                + (reasons.isEmpty ? ": there is no verifier" : ": \(reasons.joined(separator: "; "))"),
            hint: hint(record, need), retryable: true)
    }

    private static func obstacle(_ agent: AgentRecord, _ need: RestoreGuard.Minor?) -> String? {
        if let revoked = agent.certificate?.revoked { return "it was revoked at \(revoked)" }
        guard agent.connected else { return "it is not connected" }
        guard let versions = agent.drillVersions else { return "its agent does not know drills, upgrade it" }
        guard !versions.isEmpty else { return "it has no etcd with its tools" }
        guard let need else { return nil }
        let able = versions.compactMap(RestoreGuard.Minor.init).contains { $0 >= need }
        return able ? nil : "its etcd \(versions.joined(separator: ", ")) is older than the snapshot's \(need)"
    }

    private static func hint(_ record: SnapshotRecord, _ need: RestoreGuard.Minor?) -> String {
        "any host makes a verifier: install etcd, etcdctl and etcdutl\(need.map { " \($0) or newer" } ?? "") there, and enroll "
            + "its agent with a token of: fleetctl agent token \(record.cluster)"
    }
}

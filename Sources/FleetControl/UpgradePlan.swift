internal import FleetProtocol
internal import FleetSystem

extension AgentRecord {
    /// "0.1.0, not 0.2.0" where an upgrade came to nothing.
    var versionNow: String {
        guard let fallback = program?.fallback else { return version ?? "" }
        return "\(version ?? ""), not \(fallback.version ?? "the chosen one")"
    }
}

/// Which agents a program goes to and in which order, and which not and why. Pure.
struct UpgradePlan: Sendable, Equatable {
    struct Target: Sendable, Equatable, Codable {
        var cluster: String
        var node: String
        /// Its version now.
        var version: String?
        var isCanary = false
        var name: String { "\(cluster)/\(node)" }
    }

    struct Skipped: Sendable, Equatable, Codable {
        var cluster: String
        var node: String
        var version: String?
        var reason: String
        /// It runs the program already, so nothing is missing.
        var isDone = false
        var name: String { "\(cluster)/\(node)" }
    }

    /// One by one, the canary first; so never two members of a cluster at once.
    var targets: [Target] = []
    var skipped: [Skipped] = []

    /// Whether all that was asked for will run the program when the plan is carried out.
    var isWhole: Bool { skipped.allSatisfy(\.isDone) }

    /// - Parameters:
    ///   - agents: those that were asked for.
    ///   - canary: "CLUSTER/NODE", or a node's name where that is one's alone; nil: a verifier where there is one.
    /// - Throws: `not-found`, `ambiguous`, `not-upgradable` of the canary.
    init(_ program: ProgramRecord, _ agents: [AgentRecord], canary: String?) throws(FleetError) {
        var able: [AgentRecord] = []
        for agent in agents where agent.certificate?.revoked == nil {
            guard let obstacle = Self.obstacle(agent, program) else {
                able.append(agent)
                continue
            }
            skipped.append(
                Skipped(
                    cluster: agent.cluster, node: agent.node, version: agent.version, reason: obstacle.reason,
                    isDone: obstacle.isDone))
        }
        // Whose loss hurts least: a verifier has no etcd, a follower is not the leader.
        able.sort { Self.rank($0) < Self.rank($1) }
        targets = able.map { Target(cluster: $0.cluster, node: $0.node, version: $0.version) }
        if let canary {
            let named = agents.filter { canary == "\($0.cluster)/\($0.node)" || canary == $0.node }
            guard let one = named.first else {
                throw FleetError(
                    .notFound, "--canary names no agent of these: \(canary.debugDescription)",
                    hint: "give CLUSTER/NODE as 'fleetctl agent list' has them")
            }
            guard named.count == 1 else {
                throw FleetError(
                    "ambiguous", "several agents are called \(canary)",
                    hint:
                        "give one as CLUSTER/NODE: \(named.map { "\($0.cluster)/\($0.node)" }.joined(separator: ", "))")
            }
            if let index = targets.firstIndex(where: { $0.cluster == one.cluster && $0.node == one.node }) {
                targets.insert(targets.remove(at: index), at: 0)
            } else if let why = skipped.first(where: { $0.cluster == one.cluster && $0.node == one.node }), !why.isDone
            {
                throw FleetError(
                    "not-upgradable", "the canary \(why.name) can't be upgraded: \(why.reason)",
                    hint: "name another one, or none")
            }
        }
        if !targets.isEmpty { targets[0].isCanary = true }
    }

    private static func rank(_ agent: AgentRecord) -> (Int, String, Int, String) {
        (agent.isVerifier ? 0 : 1, agent.cluster, agent.instance?.part == .leader ? 1 : 0, agent.node)
    }

    private static func obstacle(_ agent: AgentRecord, _ program: ProgramRecord) -> (reason: String, isDone: Bool)? {
        if let running = agent.program, running.sha256 == program.sha256 { return ("runs it already", true) }
        guard agent.connected else {
            return ("is not connected\(agent.lastSeen.map { " since \($0.short)" } ?? "")", false)
        }
        guard let running = agent.program else {
            return ("is too old to be upgraded from here: upgrade it this once by its package", false)
        }
        guard running.architecture == program.architecture else {
            return ("is \(running.architecture), the program is for \(program.architecture)", false)
        }
        // Of one that was chosen the installed version is not known here; the agent refuses it then.
        if !running.isChosen, let version = agent.version, ProgramVersion.isNewer(version, than: program.version) {
            return ("has \(version) installed, which is newer: to go back, install the older package", false)
        }
        return nil
    }
}

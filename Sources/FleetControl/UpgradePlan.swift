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
        /// Somebody wanted it so.
        var isLeftOut = false
        var name: String { "\(cluster)/\(node)" }
    }

    /// One by one, the canary first; so never two members of a cluster at once.
    var targets: [Target] = []
    var skipped: [Skipped] = []
    /// Why it is not carried out before somebody has said what is meant; it can be looked at all the same.
    var objection: FleetError?

    /// Whether all that was asked for will run the program when the plan is carried out.
    var isWhole: Bool { skipped.allSatisfy { $0.isDone || $0.isLeftOut } }

    /// - Parameters:
    ///   - agents: those that were asked for.
    ///   - canary: "CLUSTER/NODE", or a node's name where that is one's alone; nil: a verifier where there is one.
    ///   - leaving: those that are left out, named the same way.
    ///   - closed: clusters whose agents whoever asks may not upgrade.
    ///   - retries: whether one that went back from this very program gets it again.
    /// - Throws: `not-found`, `ambiguous` of a name, `not-upgradable` of the canary.
    init(
        _ program: ProgramRecord, _ agents: [AgentRecord], canary: String?, leaving: [String] = [],
        closed: Set<String> = [], retries: Bool = false
    ) throws(FleetError) {
        var left: Set<String> = []
        for name in leaving { left.insert(Self.name(try Self.one(name, of: agents, option: "skip"))) }
        var able: [AgentRecord] = []
        for agent in agents where agent.certificate?.revoked == nil {
            var obstacle = Self.obstacle(agent, program)
            if obstacle == nil, closed.contains(agent.cluster) {
                obstacle = ("its cluster is protected: as root on the coordinator's host", false)
            }
            let isLeft = left.contains(Self.name(agent)) && obstacle?.isDone != true
            guard let obstacle = isLeft ? ("is left out, by --skip", false) : obstacle else {
                // It would stop there again, or worse, somewhere else first.
                if !retries, let fallback = agent.program?.fallback, fallback.sha256 == program.sha256 {
                    let reason = "went back from this very program: \(fallback.error.message)"
                    skipped.append(
                        Skipped(cluster: agent.cluster, node: agent.node, version: agent.version, reason: reason))
                    objection =
                        objection
                        ?? FleetError(
                            "not-upgradable", "\(Self.name(agent)) \(reason)",
                            hint: "try it there again with --retry, or leave it out with --skip \(Self.name(agent))")
                    continue
                }
                able.append(agent)
                continue
            }
            skipped.append(
                Skipped(
                    cluster: agent.cluster, node: agent.node, version: agent.version, reason: obstacle.reason,
                    isDone: obstacle.isDone, isLeftOut: isLeft))
        }
        // Whose loss hurts least: a verifier has no etcd, a follower is not the leader.
        able.sort { Self.rank($0) < Self.rank($1) }
        targets = able.map { Target(cluster: $0.cluster, node: $0.node, version: $0.version) }
        var isProbed = false
        if let canary {
            let name = Self.name(try Self.one(canary, of: agents, option: "canary"))
            if let index = targets.firstIndex(where: { $0.name == name }) {
                targets.insert(targets.remove(at: index), at: 0)
            } else if objection == nil {
                let one = skipped.first { $0.name == name }
                guard one?.isDone == true else {
                    throw FleetError(
                        "not-upgradable", "the canary \(name) can't be upgraded: \(one?.reason ?? "it was revoked")",
                        hint: "name another one, or none")
                }
                isProbed = true
            }
        }
        if !targets.isEmpty, !isProbed { targets[0].isCanary = true }
    }

    private static func name(_ agent: AgentRecord) -> String { "\(agent.cluster)/\(agent.node)" }

    private static func one(
        _ given: String, of agents: [AgentRecord], option: String
    ) throws(FleetError) -> AgentRecord {
        let named = agents.filter { given == name($0) || given == $0.node }
        guard let one = named.first else {
            throw FleetError(
                .notFound, "--\(option) names no agent of these: \(given.debugDescription)",
                hint: "give CLUSTER/NODE as 'fleetctl agent list' has them")
        }
        guard named.count == 1 else {
            throw FleetError(
                "ambiguous", "several agents are called \(given)",
                hint: "give one as CLUSTER/NODE: \(named.map(name).joined(separator: ", "))")
        }
        return one
    }

    private static func rank(_ agent: AgentRecord) -> (Int, String, Int, String) {
        (agent.holdsNoEtcd ? 0 : 1, agent.cluster, agent.instance?.part == .leader ? 1 : 0, agent.node)
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

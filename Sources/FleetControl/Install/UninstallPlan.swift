internal import FleetProtocol
internal import FleetSystem

/// What there is to take away of an agent; nothing where nothing of it is left.
struct UninstallPlan: Sendable, Equatable {
    /// What dpkg does with the package: "remove", "purge"; nil where there is none.
    var package: String?
    /// Program and unit that were installed by hand.
    var files: [String]
    /// The unit is not the one that is installed by hand: it stays beside its place.
    var keepsUnit: Bool
    var purges: Bool
    /// Where the agent was removed and came back, it would start them; with `purges` they go anyway.
    var removesUpgrades: Bool
    /// Takes the right of a certificate that stands.
    var revokes: Bool
    /// What stays on the node.
    var keeps: [String]

    var removesPackage: Bool { package != nil }
    var removesByHand: Bool { !files.isEmpty || keepsUnit }
    var touchesNode: Bool { removesPackage || removesByHand || removesUpgrades || purges }
    var isEmpty: Bool { !touchesNode && !revokes }

    /// - Parameter moving: a job that stops and starts the node's etcd now.
    /// - Throws: what speaks against it, before anything was changed.
    static func make(
        _ look: NodeLook, cluster: String, node: String, purge: Bool, terms: EnrolmentTerms, agent: AgentRecord?,
        moving: JobRecord?
    ) throws(FleetError) -> UninstallPlan {
        if let identity = look.identity {
            try checkIdentity(identity, cluster, node, terms, agent)
        } else {
            try checkWithoutIdentity(look, cluster, node, agent)
        }
        guard look.unfinished.isEmpty else { throw FleetError.unfinished(look.unfinished, cluster) }
        if let moving {
            throw FleetError(
                .busy, "\(moving.kind) \(moving.id) is under way with \(node)",
                hint: "wait for its end: fleetctl job watch \(moving.id)", retryable: true)
        }
        let isPackaged = look.package?.isPresent == true
        if !isPackaged, !look.isByHand, look.isActive || runsAtBoot.contains(look.enabled) {
            throw FleetError(
                .unsuitable,
                "fleet-agent.service there is neither a package's nor what 'agent install' has put there: it comes from \(Names.quote(look.fragment ?? "nowhere that systemd knows"))",
                hint: "on the node: systemctl disable --now fleet-agent, and remove that; then run the same again")
        }
        let isKnown = look.package.map { $0.status != "not-installed" } ?? false
        var plan = UninstallPlan(
            package: purge && isKnown ? "purge" : isPackaged ? "remove" : nil,
            files: look.program == nil ? [] : [NodeScript.program], keepsUnit: look.hasForeignUnit && !purge,
            purges: purge && (look.hasState || look.hasDropIns), removesUpgrades: !purge && look.hasUpgrades,
            revokes: agent?.certificate.map { $0.revoked == nil } ?? false, keeps: [])
        if look.unit != nil, !plan.keepsUnit { plan.files.append(NodeScript.unit) }
        if plan.keepsUnit { plan.keeps.append("\(NodeScript.unit).replaced, the unit as somebody made it there") }
        if !purge {
            if look.hasState {
                plan.keeps.append("\(NodeScript.state), with the node's key and the journals of its restores")
            }
            if look.hasDropIns { plan.keeps.append(NodeScript.dropIns) }
        }
        plan.keeps.append("etcd, its data, and all that restores have left of it")
        if look.identity == nil, !plan.isEmpty, look.defaultName != node {
            throw FleetError(
                .otherFleet, "the host is \(Names.quote(look.defaultName)), and nothing there says that it was \(node)",
                hint:
                    "check the name of the host; if it is right: 'fleetctl agent revoke \(cluster) \(node)', and remove what is there by hand"
            )
        }
        return plan
    }

    private static let runsAtBoot = ["enabled", "enabled-runtime", "linked", "linked-runtime"]

    private static func checkIdentity(
        _ identity: NodeLook.Identity, _ cluster: String, _ node: String, _ terms: EnrolmentTerms, _ agent: AgentRecord?
    ) throws(FleetError) {
        guard identity.authorities.contains(where: terms.authorities.contains) else {
            throw FleetError(
                .otherFleet,
                "the node's agent belongs to another coordinator, at \(Names.quote(identity.coordinator))",
                hint: "check the name of the host, or uninstall it with that coordinator")
        }
        guard identity.cluster == cluster, identity.node == node else {
            throw FleetError(
                .otherFleet,
                "the node's agent is \(Names.quote(identity.node)) of the cluster \(Names.quote(identity.cluster)), not \(node) of \(cluster)",
                hint: "check the names of cluster, node and host")
        }
        // An earlier machine, or a copy of its disk: what is revoked would be another's.
        if let agent, let certificate = agent.certificate, agent.certificateStands,
            !identity.certificates.contains(certificate.fingerprint)
        {
            throw FleetError(
                .otherFleet,
                "another machine answers for \(cluster)/\(node): this node has that name, and not the certificate that is in force",
                hint: agent.neverUsed
                    ?? "check the name of the host; to take the agent off this one and leave that one alone, there: systemctl disable --now fleet-agent"
            )
        }
    }

    /// Nothing proves that the host is the node.
    private static func checkWithoutIdentity(
        _ look: NodeLook, _ cluster: String, _ node: String, _ agent: AgentRecord?
    ) throws(FleetError) {
        if look.isIdentityDamaged {
            throw FleetError(
                .otherFleet, "the node has an identity of an agent that can't be read, so whose it is is not known",
                hint: "see \(NodeScript.state)/identity there; stop the agent and move it away, then run the same again"
            )
        }
        guard let agent else {
            throw FleetError(
                .notFound, "\(cluster) has no agent \(node), and the host has no identity of one",
                hint: "'fleetctl agent list \(cluster)' names them")
        }
        guard !look.isActive else {
            throw FleetError(
                .otherFleet, "an agent runs there, and its identity is not in \(NodeScript.state)",
                hint: "check the name of the host; if it is right, stop the agent there, then run the same again")
        }
        guard !agent.connected || agent.certificate?.revoked != nil else {
            throw FleetError(
                .otherFleet, "\(cluster)/\(node) is connected, and the host has no identity of an agent",
                hint: "check the name of the host: another machine is that agent")
        }
    }
}

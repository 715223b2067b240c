internal import FleetProtocol
internal import FleetSystem

/// What there is to take away of an agent; nothing where nothing of it is left.
struct UninstallPlan: Sendable, Equatable {
    /// By the package manager, by hand, or both.
    var removesPackage: Bool
    var removesByHand: Bool
    var purges: Bool
    /// Takes the right of a certificate that stands.
    var revokes: Bool
    /// What stays on the node.
    var keeps: [String]

    var touchesNode: Bool { removesPackage || removesByHand || purges }
    var isEmpty: Bool { !touchesNode && !revokes }

    /// - Parameter moving: a job that stops and starts the node's etcd now.
    /// - Throws: what speaks against it, before anything was changed.
    static func make(
        _ look: NodeLook, cluster: String, node: String, purge: Bool, terms: EnrolmentTerms, agent: AgentRecord?,
        moving: JobRecord?
    ) throws(FleetError) -> UninstallPlan {
        if let identity = look.identity {
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
        } else if agent == nil {
            throw FleetError(
                .notFound, "\(cluster) has no agent \(node), and the host has no identity of one",
                hint: "'fleetctl agent list \(cluster)' names them")
        }
        guard look.unfinished.isEmpty else { throw FleetError.unfinished(look.unfinished, cluster) }
        if let moving {
            throw FleetError(
                .busy, "\(moving.kind) \(moving.id) is under way with \(node)",
                hint: "wait for its end: fleetctl job watch \(moving.id)", retryable: true)
        }
        var keeps: [String] = []
        if !purge {
            if look.hasState {
                keeps.append("\(NodeScript.state), with the node's key and the journals of its restores")
            }
            if look.hasDropIns { keeps.append(NodeScript.dropIns) }
        }
        keeps.append("etcd, its data, and all that restores have left of it")
        return UninstallPlan(
            removesPackage: look.package?.isPresent == true, removesByHand: look.isByHand,
            purges: purge && (look.hasState || look.hasDropIns || look.package != nil),
            revokes: agent?.certificate.map { $0.revoked == nil } ?? false, keeps: keeps)
    }
}

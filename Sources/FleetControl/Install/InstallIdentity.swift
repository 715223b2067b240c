internal import FleetProtocol
internal import FleetSystem

/// Whether a node has to be enrolled, and whether it may.
extension InstallPlan {
    /// nil: the identity that the node has does.
    ///
    /// - Throws: `other-fleet` for a node that belongs to somebody else, `already-exists` for a name that does.
    static func enrolment(
        _ look: NodeLook, _ wish: InstallWish, _ name: String, _ known: AgentRecord?
    ) throws(FleetError) -> Step? {
        if look.isIdentityDamaged {
            throw FleetError(
                .alreadyExists, "the node has an identity of an agent that can't be read",
                hint: "see \(NodeScript.state)/identity there; move it away to enrol the node anew")
        }
        guard let identity = look.identity else {
            // With one name, the new agent's certificate would end the other's.
            if let known, let certificate = known.certificate, certificate.revoked == nil,
                known.connected || certificate.notAfter > .now()
            {
                throw FleetError(
                    .alreadyExists,
                    "\(wish.cluster) has an agent \(name) already, \(known.connected ? "which is connected" : "not connected now"), and this node is not enrolled",
                    hint:
                        "if it is another machine: --name; if this one was made anew: 'fleetctl agent revoke \(wish.cluster) \(name)', then again"
                )
            }
            return .enrol(again: nil)
        }
        guard identity.authorities.contains(where: wish.terms.authorities.contains) else {
            throw FleetError(
                .otherFleet, "the node belongs to another coordinator, at \(Names.quote(identity.coordinator))",
                hint:
                    "uninstall its agent with that coordinator first; if that is gone: on the node, 'fleet-agent enroll - --force' with a token from here"
            )
        }
        guard identity.cluster == wish.cluster else {
            throw FleetError(
                .otherFleet,
                "the node is enrolled as \(Names.quote(identity.node)) of the cluster \(Names.quote(identity.cluster)), not of \(wish.cluster)",
                hint: "check the name of the cluster" + moved(identity)
            )
        }
        guard identity.node == name else {
            throw FleetError(
                .otherFleet, "the node is enrolled as \(Names.quote(identity.node)), not as \(name)",
                hint: "leave --name out, or uninstall that agent first")
        }
        guard let certificate = known?.certificate else { return .enrol(again: "the coordinator does not know it") }
        if let revoked = certificate.revoked { return .enrol(again: "its certificate was revoked at \(revoked.short)") }
        if certificate.notAfter < .now() {
            return .enrol(again: "its certificate ended at \(certificate.notAfter.short)")
        }
        return nil
    }

    /// A line to paste has no word of the node's in it that is more than a name.
    private static func moved(_ identity: NodeLook.Identity) -> String {
        guard Names.isValid(identity.cluster), Names.isValid(identity.node) else { return "" }
        return
            "; if the node has moved: 'fleetctl agent uninstall \(identity.cluster) \(identity.node) --ssh HOST --purge' first"
    }
}

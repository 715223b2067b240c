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
            if let known, known.certificateStands {
                throw FleetError(
                    .alreadyExists,
                    "\(wish.cluster) has an agent \(name) already, \(known.connected ? "which is connected" : "not connected now"), and this node is not enrolled",
                    hint: known.neverUsed
                        ?? "if it is another machine: --name; if this one was made anew: 'fleetctl agent revoke \(wish.cluster) \(name)', then again"
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
        guard let known, let certificate = known.certificate else {
            return .enrol(again: "the coordinator does not know it")
        }
        guard !known.certificateStands || identity.certificates.contains(certificate.fingerprint) else {
            throw FleetError(
                .otherFleet,
                "another machine answers for \(wish.cluster)/\(name): this node has that name, and not the certificate that is in force",
                hint: known.neverUsed
                    ?? "an earlier machine, or a copy of its disk: 'fleet-agent enroll - --force --name OTHER' there makes it another agent; if that one is gone for good: 'fleetctl agent revoke \(wish.cluster) \(name)', then again"
            )
        }
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

extension AgentRecord {
    /// Another one whenever it has connected anew. An older coordinator says no more than when it was last heard of.
    var cameBack: Timestamp? { connectedSince ?? lastSeen }

    /// The coordinator lets in whoever has it.
    var certificateStands: Bool {
        guard let certificate, certificate.revoked == nil else { return false }
        return connected || certificate.notAfter > .now()
    }

    /// What to do where its certificate was given out and nobody ever came with it; nil where somebody did.
    var neverUsed: String? {
        // Who was there with the one before was seen until that was revoked, which is in the same moment.
        guard !connected, lastSeen.map({ $0 < enrolled.adding(.seconds(5)) }) ?? true else { return nil }
        return
            "its certificate was given out at \(enrolled.short) and not used since: where the answer to this node's enrolment was lost, 'fleetctl agent revoke \(cluster) \(node)', then run the same again"
    }
}

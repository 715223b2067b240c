import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// The restored members are not the one cluster with the same data that was meant.
    static let notOneCluster: Self = "not-one-cluster"
}

/// Whether what the members say of themselves is one cluster, the planned one, with the same data on all. Pure.
struct ProofCheck: Sendable, Equatable {
    let group: RestoreGroup
    /// The snapshot's. nil where members go back to data that they had: then each hashes what it has, and what clients write
    /// meanwhile may have some of them hash up to different revisions, which can't be compared.
    let revision: Int64?
    /// Where the members bump revisions, which all of them do or none: then it is this one.
    var bumped: Int64?

    /// What members say when they are prepared, before anything is touched; agents of before say nothing.
    ///
    /// - Returns: the first that would come to something else than the others.
    func objection(planned proofs: [String: MemberProof]) -> FleetError? {
        let all = proofs.sorted { $0.key < $1.key }
        guard let first = all.first else { return nil }
        for (node, proof) in all {
            if proof.clusterID != first.value.clusterID || proof.members != first.value.members {
                return wrong(node, "would be of cluster \(proof.clusterID), \(first.key) of \(first.value.clusterID)")
            }
            if proof.revision != first.value.revision {
                return FleetError(
                    .notOneCluster,
                    "\(node) would begin at revision \(proof.revision), \(first.key) at \(first.value.revision): etcd or "
                        + "its tool is too old on only one of them to bump revisions",
                    hint: "install the same etcd and etcdutl on all members, or restore with --no-bump-revision")
            }
        }
        return nil
    }

    /// Each may have another leader: it was elected anew between two proofs, and of one set of members there is one at a
    /// time. But each has to have one.
    ///
    /// - Parameter proofs: by node.
    /// - Returns: the first thing that is wrong.
    func objection(_ proofs: [String: MemberProof]) -> FleetError? {
        let (cluster, members) = (hex(group.clusterID), group.memberIDs.sorted().map(hex))
        var first: (node: String, proof: MemberProof)?
        for member in group.members {
            guard let proof = proofs[member.node] else { return wrong(member.node, "gave no proof of what it serves") }
            let id = hex(group.memberID(member))
            if proof.memberID != id { return wrong(member.node, "is member \(proof.memberID), not the planned \(id)") }
            if proof.clusterID != cluster {
                return wrong(member.node, "is of cluster \(proof.clusterID), not of the planned \(cluster)")
            }
            if proof.members != members {
                return wrong(
                    member.node,
                    "knows the members \(proof.members.joined(separator: ", ")), planned are \(members.joined(separator: ", "))"
                )
            }
            guard let leader = proof.leader, members.contains(leader) else {
                return wrong(member.node, "has no leader")
            }
            if let revision, proof.revision != revision, proof.revision != bumped {
                return wrong(member.node, "hashed up to revision \(proof.revision), not to the snapshot's \(revision)")
            }
            guard let first else {
                first = (member.node, proof)
                continue
            }
            if revision == nil,
                (proof.revision, proof.compactRevision) != (first.proof.revision, first.proof.compactRevision)
            {
                continue
            }
            if proof.revision != first.proof.revision {
                return wrong(
                    member.node, "hashed up to revision \(proof.revision), \(first.node) up to \(first.proof.revision)")
            }
            if proof.compactRevision != first.proof.compactRevision {
                return FleetError(
                    .notOneCluster,
                    "\(member.node) is compacted up to \(proof.compactRevision), \(first.node) up to "
                        + "\(first.proof.compactRevision): their data can't be compared",
                    hint: "keep etcd's clients away during the restore, then restore again")
            }
            if proof.hashKV != first.proof.hashKV {
                return wrong(
                    member.node, "has other data than \(first.node) (HashKV \(proof.hashKV) and \(first.proof.hashKV))")
            }
        }
        return nil
    }

    private func wrong(_ node: String, _ what: String) -> FleetError {
        FleetError(.notOneCluster, "\(node) \(what)", hint: "see etcd's log on \(node), then restore again")
    }

    private func hex(_ id: UInt64) -> String { String(id, radix: 16) }
}

internal import FleetProtocol
internal import FleetSystem

/// Changes of the membership, beside a healthy member. Each asks first what the cluster has: an agent that was killed behind
/// the change and before it could tell does nothing twice.
struct MemberChange: Sendable {
    let client: EtcdClient
    let waitSeconds: Int

    /// The others were asked just now; here it is seen that this one still has a quorum with them, before anything changes.
    ///
    /// - Throws: `unhealthy`, `no-tool`.
    func check() throws(FleetError) {
        guard client.tool.version.hasLearners else {
            throw FleetError(
                .noTool, "\(client.tool) can't add a learner", hint: "install etcdctl 3.4 or newer in /usr/local/bin")
        }
        try client.checkHealth()
    }

    /// - Throws: `unhealthy` where etcd refuses it, as where that would cost the quorum.
    func remove(_ member: UInt64) throws(FleetError) -> String {
        let hex = MemberView.hex(member)
        guard try client.members().contains(where: { $0.id == member }) else { return "\(hex) is not listed any more" }
        try client.removeMember(member)
        return "removed \(hex)"
    }

    /// Only one that never started counts as ours: a fresh directory must not take the id of one that has.
    ///
    /// - Returns: its id.
    func add(_ name: String, _ peerURLs: [String]) throws(FleetError) -> UInt64 {
        let deadline = ContinuousClock.now + .seconds(waitSeconds)
        // Right behind a removal etcd may hold the cluster for unhealthy for some seconds.
        return try Waiting.persistently(until: deadline) { () throws(FleetError) in
            let present = try client.members().first { !$0.peerURLs.allSatisfy { !peerURLs.contains($0) } }
            if let present {
                if present.name.isEmpty, present.isLearner { return present.id }
                throw FleetError(
                    .alreadyExists,
                    "member \(MemberView.hex(present.id)) \(present.name) has \(present.peerURLs.joined(separator: ","))",
                    hint: "see etcdctl member list; then run the replacement again")
            }
            return try client.addLearner(name, peerURLs: peerURLs)
        }
    }

    /// - Throws: `unhealthy` with etcd's own words where it does not catch up in time.
    func promote(_ member: UInt64) throws(FleetError) -> String {
        // As long as a slow line of 5 MB/s takes to bring it all.
        let size = try client.status().databaseSize
        let deadline = ContinuousClock.now + .seconds(Int64(waitSeconds) + size / 5_000_000)
        return try Waiting.persistently(until: deadline) { () throws(FleetError) in
            guard let listed = try client.members().first(where: { $0.id == member }) else {
                throw FleetError(
                    .notFound, "member \(MemberView.hex(member)) is not listed any more",
                    hint: "somebody has removed it; run the replacement again")
            }
            if listed.isLearner { try client.promoteMember(member) }
            return "\(MemberView.hex(member)) is a voter"
        }
    }

    /// - Throws: `unhealthy`, `learner`.
    func prove(_ revision: Int64, _ report: inout MemberReport) throws(FleetError) {
        if let problem = report.problem { throw problem }
        guard report.isLearner == false else {
            throw FleetError(.learner, "this member is still a learner", hint: "run the replacement again")
        }
        let hash = try client.hashKV(
            revision: revision, deadline: EtcdClient.hashDeadline(report.databaseSize ?? 0))
        (report.hashKV, report.compactRevision) = (hash.hash, hash.compactRevision)
    }
}

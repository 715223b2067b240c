internal import FleetProtocol
internal import FleetSystem

/// What etcd on this node says of itself and of its cluster.
struct MemberView: Sendable {
    let client: EtcdClient
    let instance: EtcdInstance

    /// Never fails: an etcd that does not answer is what somebody wants to know.
    func report() -> MemberReport {
        var report = MemberReport(name: instance.name, peerURLs: instance.peerURLs)
        do throws(FleetError) {
            let status = try client.status()
            report.version = status.version
            report.clusterID = Self.hex(status.clusterID)
            report.memberID = Self.hex(status.memberID)
            report.leader = status.leader == 0 ? nil : Self.hex(status.leader)
            report.isLearner = status.isLearner
            report.revision = status.revision
            report.databaseSize = status.databaseSize
            // A learner lists nobody, and serves no read that needs a quorum.
            report.members = try status.isLearner ? nil : client.members().map(Self.listed)
            if !status.isLearner { try client.checkHealth() }
        } catch { report.problem = error.shortened(to: 400) }
        return report
    }

    static func hex(_ id: UInt64) -> String { String(id, radix: 16) }

    private static func listed(_ member: EtcdClient.Member) -> MemberReport.Listed {
        .init(id: hex(member.id), name: member.name, peerURLs: member.peerURLs, isLearner: member.isLearner)
    }
}

import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// The rest of the cluster is no healthy quorum without the member, or would not be one at some moment.
    static let noQuorum: Self = "no-quorum"
    /// Nothing is wrong with the member that is to be replaced.
    static let memberHealthy: Self = "member-healthy"
    /// Members say different things of the cluster.
    static let membersDiffer: Self = "members-differ"
}

/// What a replacement has to do, from what all members say: an earlier one may have ended half-way, anywhere. Pure.
enum ReplaceCourse: Codable, Sendable, Equatable {
    case rejoin(Rejoin)
    /// It has joined already, and is a learner.
    case promote(member: String)

    struct Rejoin: Codable, Sendable, Equatable {
        /// The listed one, which is removed first; nil: none is listed any more.
        var member: String?
        var name: String
        var peerURLs: [String]
        var joining: Operation.Joining
    }

    /// A directory that is empty never gets an id that another directory had: a member that is listed and does not run as
    /// itself is removed, also one that was only just added.
    ///
    /// etcd adds no member while it can't reach another voter, so all other voters have to be healthy, and each is asked by
    /// its own agent.
    ///
    /// - Parameter looks: by node; without those that gave no answer.
    /// - Throws: `no-agent`, `no-quorum`, `members-differ`, `members-alike`, `member-healthy`, `version-too-old`.
    static func decide(
        _ target: String, _ looks: [String: MemberReport], cluster: String
    ) throws(FleetError) -> ReplaceCourse {
        guard let own = looks[target] else {
            throw FleetError(
                .noAgent, "the agent on \(target) did not say what is there", hint: "see its log, then try again")
        }
        let others = looks.filter { $0.key != target }.sorted { $0.key < $1.key }
        let healthy = others.filter { $0.value.problem == nil && $0.value.isLearner == false }
        guard let reference = healthy.first?.value, let listed = reference.members else {
            let words = others.map { "\($0.key): \($0.value.problem?.message ?? "a learner")" }
            throw FleetError(
                .noQuorum, "no other member of \(cluster) is healthy: \(words.joined(separator: "; "))",
                hint: "a member is replaced from a quorum of the others; without one: fleetctl restore \(cluster) "
                    + "--at latest")
        }
        try checkAgreement(healthy.map { ($0.key, $0.value) })
        let alike = listed.filter { !Set($0.peerURLs).isDisjoint(with: own.peerURLs) }
        guard alike.count < 2 else {
            throw FleetError(
                .membersAlike, "members \(alike.map(\.id).joined(separator: ", ")) have peer URLs of \(target)",
                hint: "see etcdctl member list, and correct the peer URLs")
        }
        let member = alike.first
        let rest = listed.filter { $0.id != member?.id }
        try checkQuorum(rest.filter { !$0.isLearner }, member, others.map { ($0.key, $0.value) }, target)
        let isItself = member != nil && own.memberID == member?.id && own.clusterID == reference.clusterID
        // One that lost its data may have founded a cluster of its own, by the same configuration and so with the same ids.
        let knowsTheOthers = own.members.map { Set($0.map(\.id)) == Set(listed.map(\.id)) } ?? false
        if isItself, own.problem == nil, own.isLearner == false, knowsTheOthers {
            throw FleetError(
                .memberHealthy, "nothing is wrong with the member on \(target): its etcd serves",
                hint: "if it is to be replaced all the same, stop its etcd first (systemctl stop etcd, or move its "
                    + "manifest out), then run this again")
        }
        if isItself, own.isLearner == true, let member { return .promote(member: member.id) }
        try checkVersions(healthy.compactMap(\.value.version))
        return .rejoin(
            .init(
                member: member?.id, name: own.name, peerURLs: own.peerURLs,
                joining: .init(
                    initialCluster: initialCluster(rest, own),
                    databaseSize: healthy.compactMap(\.value.databaseSize).max() ?? 0,
                    etcdVersion: reference.version ?? "", member: member?.id)))
    }

    /// etcd compares the others' peer URLs with what it is told; their names only have to differ.
    static func initialCluster(_ rest: [MemberReport.Listed], _ own: MemberReport) -> String {
        var names: Set<String> = [own.name]
        var entries: [String] = []
        for member in rest {
            let isGood = !member.name.isEmpty && !names.contains(member.name)
            let name = isGood ? member.name : member.id
            names.insert(name)
            entries += member.peerURLs.map { "\(name)=\($0)" }
        }
        return (entries + own.peerURLs.map { "\(own.name)=\($0)" }).joined(separator: ",")
    }

    private static func checkAgreement(_ healthy: [(node: String, report: MemberReport)]) throws(FleetError) {
        func words(_ report: MemberReport) -> [String] {
            ["cluster \(report.clusterID ?? "")"] + (report.members ?? []).map(\.id).sorted()
        }
        let first = healthy[0]
        guard let other = healthy.first(where: { words($0.report) != words(first.report) }) else { return }
        throw FleetError(
            .membersDiffer,
            "\(first.node) has \(words(first.report).joined(separator: ", ")), \(other.node) has "
                + words(other.report).joined(separator: ", "),
            hint: "one of them may be of another cluster, or behind; see etcdctl member list on both")
    }

    private static func checkQuorum(
        _ voters: [MemberReport.Listed], _ member: MemberReport.Listed?,
        _ others: [(node: String, report: MemberReport)], _ target: String
    ) throws(FleetError) {
        let missing = voters.compactMap { voter -> String? in
            let name = voter.name.isEmpty ? voter.id : voter.name
            if others.contains(where: { $0.report.memberID == voter.id && $0.report.problem == nil }) { return nil }
            let found = others.first { !Set($0.report.peerURLs).isDisjoint(with: voter.peerURLs) }
            let why = found.map { "on \($0.node): \($0.report.problem?.message ?? "it is another member")" }
            return "\(name) (\(why ?? "no agent of it is connected"))"
        }
        guard missing.isEmpty else {
            throw FleetError(
                .noQuorum, "without \(target) not all voters are healthy: \(missing.joined(separator: "; "))",
                hint: "etcd takes in no member while another voter is away: bring that one back first (its agent too), "
                    + "or take it out for good: etcdctl member remove ID")
        }
        // While the old one is listed, it counts.
        let all = voters.count + (member?.isLearner == false ? 1 : 0)
        guard voters.count >= all / 2 + 1 else {
            throw FleetError(
                .noQuorum, "\(voters.count) of \(all) voters are no quorum without \(target)",
                hint: "a member is replaced from a quorum of the others; restore a snapshot instead")
        }
    }

    private static func checkVersions(_ versions: [String]) throws(FleetError) {
        for version in versions {
            let parts = version.split(separator: ".").compactMap { Int($0) }
            guard parts.count < 2 || (parts[0], parts[1]) >= (3, 4) else {
                throw FleetError(
                    .versionTooOld, "etcd \(version) has no learners",
                    hint: "upgrade to etcd 3.4 or newer, or replace the member by hand")
            }
        }
    }
}

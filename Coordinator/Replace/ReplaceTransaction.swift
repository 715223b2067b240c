import FleetProtocol
import FleetSystem

/// The replacement of one member, as the coordinator decides it: a pure state machine. Its state is folded from records;
/// `next` says what comes, and whoever drives it makes records and jobs durable in one transaction before anything is sent,
/// so that a coordinator that dies goes on where it was.
///
/// look (all) → plan (member) → stop (member) → readmit (beside a healthy one) → join (member) → promote → prove (all)
///
/// The acts come one by one, each when the last has ended well. An act that was cut off is done again, since each looks
/// first at what is there. Until the old member is removed any failure leads back: its etcd is started again as it was.
/// Behind that its data is of no use, since its id is gone: a failure ends the replacement where it stands, says where, and
/// the next replacement goes on from there.
struct ReplaceTransaction: Sendable, Equatable {
    private struct Work: Equatable {
        var job: String
        var node: String
        var act: Operation.Act
        var batch: Int
        var end: End?
    }

    /// So often an act is done again.
    static let tries = 5

    let order: Order
    private var works: [Work] = []
    private(set) var course: ReplaceCourse?
    private var verdict: (Verdict, FleetError?)?

    init(_ order: Order) { self.order = order }

    static func == (a: Self, b: Self) -> Bool {
        a.order == b.order && a.works == b.works && a.course == b.course && a.verdict?.0 == b.verdict?.0
    }

    mutating func apply(_ record: Record) {
        switch record {
        case .assigned(let job, let node, let act, let batch):
            works.append(Work(job: job, node: node, act: act, batch: batch))
        case .ended(let job, let end):
            // What comes later of one that was given up for lost changes nothing: its act was given again.
            guard let place = works.firstIndex(where: { $0.job == job && $0.end == nil }) else { return }
            works[place].end = end
        case .decided(let course): self.course = course
        case .concluded(let verdict, let error): self.verdict = (verdict, error)
        }
    }

    var lastAct: Operation.Act? { works.last?.act }

    /// Of the next acts.
    var nextBatch: Int { (works.last?.batch ?? 0) + 1 }

    func next() -> Action {
        if let (verdict, error) = verdict { return .end(verdict, error) }
        guard !works.contains(where: { $0.end == nil }) else { return .wait }
        guard let last = works.last else {
            return .assign(([order.node] + order.others).map { .init(node: $0, act: .look) })
        }
        let batch = works.filter { $0.batch == last.batch }
        if case .look = last.act { return looked(batch) }
        if case .prove(let revision) = last.act { return proved(batch, revision) }
        guard let end = last.end else { return .wait }
        guard let error = end.error else { return following(last, end) }
        if end.isCut || isUnclear(last), tried < Self.tries { return again(last) }
        return failed(last, end, error.during(last.node))
    }

    // MARK: the way forward

    private func looked(_ batch: [Work]) -> Action {
        guard let course else {
            let reports = batch.compactMap { work in work.end?.report.map { (work.node, $0) } }
            let looks = Dictionary(reports) { first, _ in first }
            if let blind = batch.first(where: { $0.node == order.node })?.end?.error {
                return .write(.concluded(.failed, blind.during(order.node)))
            }
            do throws(FleetError) {
                return .write(.decided(try ReplaceCourse.decide(order.node, looks, cluster: order.cluster)))
            } catch { return .write(.concluded(.failed, error)) }
        }
        switch course {
        case .rejoin(let rejoin): return assign(order.node, .plan(rejoin.joining, dryRun: order.dryRun))
        case .promote(let member):
            if order.dryRun { return .write(.concluded(.succeeded, nil)) }
            return assign(helper, .promote(member: member))
        }
    }

    private func following(_ last: Work, _ end: End) -> Action {
        switch last.act {
        case .plan: return order.dryRun ? .write(.concluded(.succeeded, nil)) : assign(order.node, .stop)
        case .stop: return readmit()
        case .back: return .write(.concluded(.failed, reason))
        case .readmit:
            guard let added = end.report?.added else {
                return failed(last, end, FleetError(.malformed, "\(last.node) does not say which member was added"))
            }
            return assign(order.node, .join(member: added))
        case .join(let member): return assign(helper, .promote(member: member))
        case .promote: return prove(max(1, end.report?.revision ?? 1))
        case .look, .prove: return .wait
        }
    }

    private func readmit() -> Action {
        guard case .rejoin(let rejoin)? = course else { return .write(.concluded(.stuck, reason)) }
        return assign(helper, .readmit(member: rejoin.member, name: rejoin.name, peerURLs: rejoin.peerURLs))
    }

    private func prove(_ revision: Int64) -> Action {
        .assign((others + [order.node]).map { .init(node: $0, act: .prove(revision: revision)) })
    }

    /// Hashes of one revision differ also where one of them has compacted meanwhile: then a newer revision is asked for.
    private func proved(_ batch: [Work], _ revision: Int64) -> Action {
        let reports = batch.compactMap { $0.end?.report }
        let problem = batch.lazy.compactMap { work in work.end?.error?.during(work.node) }.first ?? difference(batch)
        guard let problem else { return .write(.concluded(.succeeded, nil)) }
        if tried < Self.tries { return prove(max(revision, reports.compactMap(\.revision).max() ?? revision)) }
        // It serves, so that another replacement would be refused.
        return .write(
            .concluded(
                .stuck,
                FleetError(
                    problem.code,
                    "\(problem.message); \(order.node) is a voter and serves, and that all serve the same was not proven",
                    hint:
                        "look on any member: etcdctl endpoint hashkv --cluster; where they agree, only the old data is "
                        + "left to sign off: fleetctl job list \(order.cluster)")))
    }

    private func difference(_ batch: [Work]) -> FleetError? {
        func words(_ work: Work) -> String {
            let report = work.end?.report
            return "HashKV \(report?.hashKV ?? 0) behind compaction \(report?.compactRevision ?? 0) of cluster "
                + "\(report?.clusterID ?? ""), leader \(report?.leader ?? "none"), members "
                + (report?.members ?? []).map { $0.id + ($0.isLearner ? " (learner)" : "") }.sorted()
                .joined(separator: " ")
        }
        guard let other = batch.first(where: { words($0) != words(batch[0]) }) else { return nil }
        return FleetError(
            .membersDiffer, "\(batch[0].node) has \(words(batch[0])); \(other.node) has \(words(other))")
    }

    // MARK: what fails

    /// Whether it is known that the old member is still a member, or that none was: then all can be as before.
    private func isAsBefore(_ work: Work) -> Bool {
        guard case .readmit(let member, _, let peerURLs) = work.act else { return false }
        if work.end?.isUntouched == true, tried == 1 { return true }
        guard let members = work.end?.report?.members else { return false }
        if let member { return members.contains { $0.id == member } }
        return members.allSatisfy { Set($0.peerURLs).isDisjoint(with: peerURLs) }
    }

    /// A change of the membership of which nothing is known but that it failed, or that was done in part: etcd is asked
    /// again rather than given up.
    private func isUnclear(_ work: Work) -> Bool {
        if case .readmit = work.act { return !isAsBefore(work) }
        return false
    }

    private func failed(_ last: Work, _ end: End, _ error: FleetError) -> Action {
        switch last.act {
        case .look, .plan: return .write(.concluded(.failed, error))
        case .stop: return assign(order.node, .back)
        case .readmit where isAsBefore(last): return assign(order.node, .back)
        case .back:
            return .write(
                .concluded(
                    .stuck,
                    FleetError(
                        error.code,
                        "\(reason?.message ?? ""); no member was removed, but etcd could not be started "
                            + "again: \(error.message)", hint: error.hint ?? "start etcd on \(order.node) by hand")))
        case .readmit(let member, _, _):
            let old = member.map { "member \($0) is removed, or may be" } ?? "no member is listed for it"
            return .write(.concluded(.stuck, halfWay(error, "\(old); etcd on \(order.node) is stopped")))
        case .join(let member):
            return .write(
                .concluded(
                    .stuck, halfWay(error, "\(member) is added as a learner and does not run on \(order.node) yet")))
        case .promote(let member):
            return .write(
                .concluded(.stuck, halfWay(error, "\(member) runs on \(order.node) and is still a learner")))
        case .prove: return .wait
        }
    }

    private func halfWay(_ error: FleetError, _ standing: String) -> FleetError {
        FleetError(
            error.code, "\(error.message); \(standing); the other members serve as before",
            hint: "\(error.hint.map { $0 + "; " } ?? "")then go on from here: fleetctl member replace \(order.cluster) "
                + order.node)
    }

    /// Why it goes back.
    private var reason: FleetError? {
        works.last { work in
            if case .back = work.act { return false }
            return work.end?.error != nil
        }.flatMap { work in work.end?.error?.during(work.node) }
    }

    private func again(_ work: Work) -> Action {
        // Another healthy member can do the same.
        switch work.act {
        case .readmit, .promote: assign(helper, work.act)
        default: assign(work.node, work.act)
        }
    }

    /// How often the last act was given, one batch after the other.
    private var tried: Int {
        guard let name = works.last?.act.name else { return 0 }
        return Set(works.reversed().prefix { $0.act.name == name }.map(\.batch)).count
    }

    private func assign(_ node: String, _ act: Operation.Act) -> Action { .assign([.init(node: node, act: act)]) }

    /// The healthy voters among the others, the leader first: it changes the membership without a way round.
    private var others: [String] {
        let looks = works.filter { work in
            if case .look = work.act, work.node != order.node { return true }
            return false
        }
        let healthy = looks.filter { $0.end?.report?.problem == nil && $0.end?.report?.isLearner == false }
        func isLeader(_ work: Work) -> Bool { work.end?.report?.leader == work.end?.report?.memberID }
        return (healthy.filter(isLeader) + healthy.filter { !isLeader($0) }).map(\.node)
    }

    /// Another one with each try.
    private var helper: String {
        let all = others
        let name = works.last?.act.name
        let given = name == "readmit" || name == "promote" ? tried : 0
        return all.isEmpty ? order.node : all[given % all.count]
    }
}

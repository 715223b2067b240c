internal import FleetProtocol
internal import FleetSystem

/// One act of a member's replacement, as a job: step by step, each told of before it begins.
struct MemberRun: Sendable {
    let paths: AgentPaths
    let job: Job
    let order: FleetProtocol.Operation.Member
    let outbox: Outbox
    let faults: FaultInjection
    let discover: @Sendable () throws(FleetError) -> DiscoveredEtcd

    func run() async -> JobOutcome {
        do throws(FleetError) {
            switch order.act {
            case .look: return try await look()
            case .plan(let joining, let dryRun): return try await plan(joining, dryRun)
            case .stop: return try await stop()
            case .back: return try await back()
            case .join(let member): return try await join(try Self.id(member))
            case .readmit(let member, let name, let peerURLs): return await readmit(member, name, peerURLs)
            case .promote(let member): return try await promote(try Self.id(member))
            case .prove(let revision): return try await prove(revision)
            }
        } catch {
            return JobOutcome(result: .failed, error: error, summary: "\(order.act.name) failed: \(error.message)")
        }
    }

    // MARK: on any node

    private func look() async throws(FleetError) -> JobOutcome {
        let report = try await step("look") { () throws(FleetError) in try view().report() }
        return JobOutcome(
            result: .succeeded,
            summary: report.problem == nil
                ? "etcd serves" : report.isLearner == true ? "etcd is a learner" : "etcd does not serve",
            member: report)
    }

    private func prove(_ revision: Int64) async throws(FleetError) -> JobOutcome {
        let (paths, replacement) = (self.paths, order.replacement)
        let (report, plan) = try await step("prove") { () throws(FleetError) in
            let view = try view()
            var report = view.report()
            try MemberChange(client: view.client, waitSeconds: order.waitSeconds).prove(revision, &report)
            // Of the member that was replaced: it is one like the others now.
            return (report, try JoinRecord.close(paths, end: replacement))
        }
        return JobOutcome(
            result: .succeeded, summary: "HashKV \(report.hashKV ?? 0) at revision \(revision)", plan: plan,
            member: report)
    }

    // MARK: beside a healthy member

    /// What was done is told also where it did not come to its end: whether the old member is gone decides what comes next.
    private func readmit(_ member: String?, _ name: String, _ peerURLs: [String]) async -> JobOutcome {
        let change: MemberChange
        do throws(FleetError) {
            let wait = order.waitSeconds
            change = try await step("check-quorum") { () throws(FleetError) in
                let change = MemberChange(client: try view().client, waitSeconds: wait)
                try change.check()
                return change
            }
        } catch { return JobOutcome(result: .refused, error: error, summary: "nothing was changed: \(error.message)") }
        do throws(FleetError) {
            if let member {
                let id = try Self.id(member)
                try await step("remove-member", detail: Self.told) { () throws(FleetError) in try change.remove(id) }
            }
            let added = try await step("add-member", detail: Self.told) { () throws(FleetError) in
                try change.add(name, peerURLs)
            }
            var report = await seen() ?? MemberReport(name: name, peerURLs: peerURLs)
            report.added = MemberView.hex(added)
            return JobOutcome(
                result: .succeeded, summary: "added \(MemberView.hex(added)) as a learner", member: report)
        } catch {
            return JobOutcome(
                result: .failed, error: error, summary: "not added: \(error.message)", member: await seen())
        }
    }

    private func promote(_ member: UInt64) async throws(FleetError) -> JobOutcome {
        let wait = order.waitSeconds
        let summary = try await step("promote-member", detail: Self.told) { () throws(FleetError) in
            try MemberChange(client: view().client, waitSeconds: wait).promote(member)
        }
        return JobOutcome(result: .succeeded, summary: summary, member: await seen())
    }

    // MARK: on the node of the member

    private func plan(
        _ joining: FleetProtocol.Operation.Joining, _ dryRun: Bool
    ) async throws(FleetError) -> JobOutcome {
        let (paths, job, order) = (self.paths, self.job, self.order)
        let (work, warnings) = try await step("plan") { () throws(FleetError) in
            let found = try node()
            // While its container is there: when etcd is stopped, its own tools are gone with it.
            _ = try ToolFinder.find(pid: found.process?.pid, dataDir: found.dataDir.path, copies: paths.tools)
            var work = try JoinPlanner.plan(found, joining, order, job: job)
            if case .unit(let name, _) = work.launch {
                work.wasRunning = found.process != nil ? true : try? Systemctl.isActive(name)
            }
            let warnings = try RestoreSteps(work: work, paths: paths).checkJoin(joining)
            if !dryRun { try JoinRecord.planned(order.replacement, work, after: try .any(paths)).write(paths) }
            return (work, warnings)
        }
        return JobOutcome(
            result: .succeeded, summary: "planned; nothing was changed", plan: work.plan,
            notes: Self.nonEmpty(warnings + (work.kubeadmNote.map { [$0] } ?? [])))
    }

    private func stop() async throws(FleetError) -> JobOutcome {
        let steps = try await record(.stopping)
        try await step("stop-etcd", detail: \.self) { () throws(FleetError) in try steps.stopEtcd() }
        return JobOutcome(result: .succeeded, summary: "etcd is stopped")
    }

    private func back() async throws(FleetError) -> JobOutcome {
        let (steps, paths, replacement) = (try await record(.returning), self.paths, order.replacement)
        let told = try await step("start-etcd", detail: \.note) { () throws(FleetError) in
            let told = try steps.startOldEtcd()
            try JoinRecord.close(paths, end: replacement)
            return told
        }
        return JobOutcome(
            result: .succeeded, summary: told.remark ?? "etcd is started as it was before; nothing was changed")
    }

    private func join(_ member: UInt64) async throws(FleetError) -> JobOutcome {
        let steps = try await record(.joining)
        let work = steps.work
        if try await onDisk({ () throws(FleetError) in !steps.isJoined(member) }) {
            try await step("stop-etcd", detail: \.self) { () throws(FleetError) in try steps.stopEtcd() }
            try await step("make-directory") { () throws(FleetError) in try steps.makeJoinDirectory(for: member) }
            try await step("switch-files", detail: \.self) { () throws(FleetError) in try steps.switchFiles() }
            try await step("start-etcd", detail: \.self) { () throws(FleetError) in try steps.startJoined(member) }
        }
        return JobOutcome(
            result: .succeeded,
            summary: "etcd runs on \(work.plan.newDataDir) as \(MemberView.hex(member)); \(work.oldData)"
                + (work.plan.oldDirectories?.isEmpty == false
                    ? ", of no use to etcd any more: sign it off with 'fleetctl restore cleanup \(order.replacement)'"
                    : ""),
            plan: work.plan)
    }

    /// On the disk before the step that it is about.
    private func record(_ stage: JoinRecord.Stage) async throws(FleetError) -> RestoreSteps {
        let (paths, faults, order) = (self.paths, self.faults, self.order)
        return try await onDisk { () throws(FleetError) in
            var record = try JoinRecord.read(paths, of: order.replacement)
            // Before etcd is stopped: the agent may have another unit than when this was planned.
            try WritablePlaces.check(record.work)
            (record.stage, record.work.waitSeconds) = (stage, order.waitSeconds)
            try record.write(paths)
            return RestoreSteps(work: record.work, paths: paths, faults: faults)
        }
    }

    // MARK: means

    /// This node's etcd, also while its manifest is held.
    private func node() throws(FleetError) -> DiscoveredEtcd {
        do throws(FleetError) { return try discover() } catch {
            guard error.code == .noEtcd || error.code == .etcdElsewhere else { throw error }
            let files = try HeldManifest.overlay(NodeFiles())
            guard !files.overlay.isEmpty else { throw error }
            return try Discovery.discover(files, processes: [])
        }
    }

    private func view() throws(FleetError) -> MemberView {
        let found = try node()
        let tools = try ToolFinder.find(pid: found.process?.pid, dataDir: found.dataDir.path, copies: paths.tools)
        let tool = try tools.client(for: found.instance.version.flatMap { EtcdVersion($0) })
        return MemberView(client: EtcdClient(tool: tool, instance: found.instance), instance: found.instance)
    }

    /// nil where it can't be looked at.
    private func seen() async -> MemberReport? {
        try? await onDisk { () throws(FleetError) in try view().report() }
    }

    @discardableResult
    private func step<Value: Sendable>(
        _ name: String, detail: (Value) -> String? = { _ in nil },
        _ body: @escaping @Sendable () throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        try await JobSteps(job: job.id, outbox: outbox, faults: faults).step(name, detail: detail) {
            () async throws(FleetError) in try await onDisk(body)
        }
    }

    private static func id(_ text: String) throws(FleetError) -> UInt64 {
        guard let id = UInt64(text, radix: 16) else { throw FleetError(.malformed, "\(text) is no member's id") }
        return id
    }

    private static func told(_ text: String) -> String? { text }
    private static func told(_ id: UInt64) -> String? { MemberView.hex(id) }
    private static func nonEmpty(_ notes: [String]) -> [String]? { notes.isEmpty ? nil : notes }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// `retention apply`. What happens to one cluster (a backup ends, its policy is removed) keeps no other from being dealt
/// with; the last word is about all of them.
struct RetentionRun {
    private let control: Control
    private let terminal: Terminal
    private let isJSON: Bool
    private var done: [RetentionReply] = []
    private var failures: [FleetError] = []
    /// So many of them were printed.
    private var shownFailures = 0
    /// The coordinator can't be reached any more: what is asked of the others would take as long, and fail the same way.
    private var isCutOff = false

    static func command(_ call: Invocation) async throws -> ExitStatus {
        var names = call.arguments("CLUSTER")
        guard names.isEmpty == call.has("all") else {
            throw FleetError(.usage, "name clusters, or give --all", hint: "one of the two")
        }
        var run = RetentionRun(
            control: try await Coordinator.control(call), terminal: call.terminal, isJSON: Output.isJSON(call))
        if call.has("all") {
            let all: [RetentionRecord] = try await run.control.ask(ControlMethod.listRetention, ListRequest())
            names = all.filter { $0.policy != nil }.map(\.cluster)
            if names.isEmpty, !run.isJSON {
                run.terminal.note("no cluster has a policy; set one with 'fleetctl retention set CLUSTER'")
            }
        }
        if call.has("yes"), !call.has("dry-run") {
            // Back to back: of a thousand clusters, one or the other backup ends between the first plan and the last.
            for name in names where !run.isCutOff { if let plan = await run.plan(name) { await run.apply(plan) } }
            return try run.end(names, call)
        }
        var plans: [RetentionReply] = []
        for name in names where !run.isCutOff { if let plan = await run.plan(name) { plans.append(plan) } }
        let doomed = plans.reduce(0) { $0 + $1.doomed }
        guard doomed > 0, !call.has("dry-run") else {
            run.done = plans
            return try run.end(names, call, isRehearsal: true)
        }
        run.showFailures()
        if plans.count < names.count {
            // The question is not about all that were named.
            let count = names.count - plans.count
            let (has, them) = count == 1 ? ("has", "it") : ("have", "them")
            run.terminal.note("\(count) of \(names.count) clusters \(has) no plan; nothing of \(them) is deleted")
            run.noteCut()
        }
        guard run.terminal.confirms("Delete \(doomed) snapshots for good?") else {
            run.terminal.note("nothing was deleted; it goes on with y on a terminal, or with --yes")
            return .declined
        }
        for plan in plans { await run.apply(plan) }
        return try run.end(names, call)
    }

    private init(control: Control, terminal: Terminal, isJSON: Bool) {
        (self.control, self.terminal, self.isJSON) = (control, terminal, isJSON)
    }

    private mutating func plan(_ cluster: String) async -> RetentionReply? {
        do throws(FleetError) {
            let plan: RetentionReply = try await control.ask(
                ControlMethod.applyRetention, RetentionRunRequest(cluster: cluster))
            if !isJSON { show(plan) }
            return plan
        } catch {
            // Asked again on a new connection, where the former one was lost.
            isCutOff = await !control.isConnected
            failures.append(error)
            return nil
        }
    }

    /// What was shown is what is deleted, whatever has come in between.
    private mutating func apply(_ plan: RetentionReply) async {
        guard plan.doomed > 0 else { return done.append(plan) }
        do throws(FleetError) {
            done.append(
                try await control.call(
                    ControlMethod.applyRetention,
                    RetentionRunRequest(cluster: plan.cluster, confirmed: plan.digest)))
        } catch {
            guard error.code == .connectionLost else { return failures.append(error) }
            failures.append(
                FleetError(
                    error.code, "\(error.message); how many of \(plan.cluster) were deleted is not known",
                    hint: "see what is left: fleetctl retention apply \(plan.cluster) --dry-run"))
        }
    }

    /// What failed, and the count for all clusters; the error itself where one cluster was asked for.
    private mutating func end(
        _ names: [String], _ call: Invocation, isRehearsal: Bool = false
    ) throws -> ExitStatus {
        if names.count == 1, let failure = failures.first { throw failure }
        if isJSON { try Output.json(done, call) }
        showFailures()
        let lines = done.flatMap(\.lines)
        let failed = lines.filter { $0.problem != nil }
        for line in failed where !isJSON {
            terminal.note("\(line.snapshot) could not be deleted")
            if let problem = line.problem { terminal.error(problem) }
        }
        if !isJSON {
            let count = lines.count { !$0.isKept } - failed.count
            let gc = count > 0 ? "; the space that no other snapshot needs comes back with: fleetctl store gc" : ""
            terminal.print(isRehearsal ? "\(count) would be deleted" : "\(count) deleted\(gc)")
        }
        if !failures.isEmpty {
            terminal.note("\(names.count - done.count) of \(names.count) clusters were not dealt with")
            noteCut()
        }
        return failed.isEmpty && failures.isEmpty ? .success : .partialFailure
    }

    /// Those that were not printed yet.
    private mutating func showFailures() {
        for failure in failures[shownFailures...] { terminal.error(failure) }
        shownFailures = failures.count
    }

    private func noteCut() {
        if isCutOff { terminal.note("the coordinator can't be reached: run it again when it can") }
    }

    private func show(_ reply: RetentionReply) {
        terminal.print("\(reply.cluster) keeps \(reply.policy.text)")
        var table = Table([("", .left), ("SNAPSHOT", .left), ("SAVED", .left), ("WHY", .left)])
        for line in reply.lines {
            table.add(
                [
                    line.isKept ? "keep" : "delete", line.snapshot, line.savedAt.short,
                    line.reasons.joined(separator: ", "),
                ], paint: line.isKept ? [:] : [0: { terminal.red($0) }])
        }
        table.print(terminal)
    }
}

extension RetentionReply {
    fileprivate var doomed: Int { lines.count { !$0.isKept } }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// What became of one host.
struct InstallResult: Codable, Sendable {
    enum Outcome: String, Codable, Sendable {
        case installed, unchanged, failed
        /// By --dry-run: nothing was changed.
        case planned
    }
    var host: String
    var node: String?
    var outcome: Outcome
    /// What was done, or would be, in words.
    var steps: [String] = []
    var notes: [String] = []
    /// What the coordinator knows of it now.
    var agent: AgentRecord?
    var error: FleetError?
}

/// One host from the first look to the agent's first word at the coordinator.
struct NodeInstallation: Sendable {
    let shell: SecureShell
    let wish: InstallWish
    let control: Control
    let isDryRun: Bool
    let patience: Duration
    /// A line of what is done or would be; and one about it.
    let say: @Sendable (String) -> Void
    let note: @Sendable (String) -> Void

    func run() async -> InstallResult {
        var result = InstallResult(host: shell.host, outcome: .failed)
        do throws(FleetError) { try await carryOut(&result) } catch {
            result.outcome = .failed
            result.error = error
        }
        return result
    }

    private func carryOut(_ result: inout InstallResult) async throws(FleetError) {
        var head: [UInt8]?
        if case .package(let bytes) = wish.source.kind { head = bytes }
        let plan = try InstallPlan.make(try await shell.look(packageHead: head), wish)
        (result.node, result.notes) = (plan.node, plan.notes)
        for line in plan.notes { note(line) }
        let before = wish.agents.first { $0.cluster == wish.cluster && $0.node == plan.node }
        if isDryRun {
            result.steps = plan.steps.map { $0.words(done: false, wish, node: plan.node) }
            result.outcome = plan.steps.isEmpty ? .unchanged : .planned
            result.agent = before
            for line in result.steps { say("would \(line)") }
            try await checkWay(plan)
            return
        }
        try await checkWay(plan)
        for step in plan.steps {
            try await take(step, plan)
            let words = step.words(done: true, wish, node: plan.node)
            result.steps.append(words)
            say(words)
        }
        result.agent = try await connected(plan, before)
        result.outcome = plan.steps.isEmpty ? .unchanged : .installed
    }

    /// One that is enrolled goes on trying; a token is for minutes.
    private func checkWay(_ plan: InstallPlan) async throws(FleetError) {
        guard plan.steps.contains(where: { if case .enrol = $0 { true } else { false } }) else { return }
        try await shell.checkWay(to: wish.terms.address, node: plan.node)
    }

    private func take(_ step: InstallPlan.Step, _ plan: InstallPlan) async throws(FleetError) {
        // Nobody waits for ever for a line of 50 kB a second either.
        let copying = Duration.seconds(180 + wish.source.bytes.count / 50_000)
        switch step {
        case .package(_, _, let downgrades):
            note("copying \(wish.source.name) (\(Human.bytes(Int64(wish.source.bytes.count))))")
            try await shell.check(
                "installing the package", NodeScript.installPackage(wish.source.sha256, downgrades: downgrades),
                input: wish.source.bytes, deadline: copying, hint: "see on the node: apt-get check",
                libraryHint:
                    "a dependency is missing: let the node reach its package source, or install that first (libyaml-0-2)"
            )
        case .program:
            note("copying \(wish.source.name) (\(Human.bytes(Int64(wish.source.bytes.count))))")
            try await shell.check(
                "installing the program", NodeScript.installProgram(wish.source.sha256), input: wish.source.bytes,
                deadline: copying, hint: "what was there before is still in its place",
                libraryHint:
                    "install the library that is missing, libyaml (Debian: libyaml-0-2) or OpenSSL 3; what was there before is still in its place"
            )
        case .leaveUpgrade:
            try await shell.check(
                "going back to the installed program", NodeScript.leaveUpgrade, deadline: .seconds(120),
                hint: "on the node: journalctl -u fleet-agent")
        case .unit:
            try await shell.check(
                "installing the unit", NodeScript.installUnit(AgentUnit.sha256), input: AgentUnit.bytes)
        case .removeHandInstalled(let keepsUnit, let enables, let restarts):
            try await shell.check(
                "making room for the package",
                NodeScript.removeHandInstalled(keepsUnit: keepsUnit, enables: enables, restarts: restarts),
                deadline: .seconds(120))
        case .enrol(let again): try await enrol(plan, again: again != nil)
        case .enable: try await shell.check("enabling the unit", NodeScript.enable)
        case .start, .restart:
            try await shell.check(
                "starting the agent", NodeScript.systemctl(step == .start ? "start" : "restart"),
                deadline: .seconds(120),
                hint: "on the node: journalctl -u fleet-agent")
        }
    }

    /// The token goes from the coordinator to the node's standard input, and nowhere else.
    private func enrol(_ plan: InstallPlan, again: Bool) async throws(FleetError) {
        let token: TokenReply = try await control.call(
            ControlMethod.agentToken, TokenRequest(name: wish.cluster, validSeconds: 600))
        let outcome = try await shell.run(
            NodeScript.enrol(plan.program, name: plan.node, again: again), input: Array((token.token + "\n").utf8),
            deadline: .seconds(120))
        guard outcome.succeeded else {
            let hint =
                "the node has to reach the coordinator at \(wish.terms.address): check name, route and firewall there"
            var error =
                NodeWords.error(outcome.errors, .enrolment) ?? SecureShell.failure("fleet-agent enroll", outcome, hint)
            error = error.during("enrolling it as \(wish.cluster)/\(plan.node)")
            if error.hint == nil { error.hint = hint }
            throw error
        }
    }

    /// Waits until the coordinator has heard of the agent, anew where something was done.
    private func connected(_ plan: InstallPlan, _ before: AgentRecord?) async throws(FleetError) -> AgentRecord {
        if plan.steps.isEmpty, let before, before.connected { return before }
        let deadline = ContinuousClock.now + patience
        if !plan.steps.isEmpty { note("waiting until the coordinator hears of it, \(Int(patience.seconds)) s at most") }
        while true {
            let agents: [AgentRecord] = try await control.ask(
                ControlMethod.listAgents, ListRequest(cluster: wish.cluster))
            if let agent = agents.first(where: { $0.node == plan.node }), agent.connected,
                plan.isQuiet || agent.cameBack != before?.cameBack
            {
                return agent
            }
            guard ContinuousClock.now < deadline else { break }
            do { try await Task.sleep(for: .milliseconds(500)) } catch { throw FleetError(error) }
        }
        let words = try? await shell.run(NodeScript.lastWords)
        let said = words.map { NodeWords.last($0.output, lines: 5) } ?? ""
        throw FleetError(
            .timedOut,
            "the coordinator has not heard of it within \(Int(patience.seconds)) s\(said.isEmpty ? "" : "; there: \(said)")",
            hint:
                "the node has to reach \(wish.terms.address); on the node: journalctl -u fleet-agent; then run the same again",
            retryable: true)
    }
}

extension InstallPlan {
    /// Nothing of it makes an agent that is connected connect again.
    fileprivate var isQuiet: Bool { steps.allSatisfy { $0 == .enable || $0 == .start } }
}

extension FleetError.Code {
    /// What `fleet-agent enroll` said on the node.
    static let enrolment: Self = "enrolment-failed"
}

internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// An upgrade that goes from agent to agent, each only when the one before it is back and proven.
struct UpgradeRoll: Sendable {
    let program: ProgramRecord
    let path: String
    let plan: UpgradePlan
    let control: Control
    let call: Invocation

    /// What became of it, for scripts.
    private struct Result: Codable, Sendable {
        struct Agent: Codable, Sendable {
            var cluster: String
            var node: String
            var job: String?
            var error: FleetError?
        }
        var program: ProgramRecord
        var planned: [UpgradePlan.Target]
        var skipped: [UpgradePlan.Skipped]
        /// By this command, or meanwhile by another.
        var upgraded: [Agent] = []
        var failed: [Agent] = []
    }

    private var terminal: Terminal { call.terminal }
    private var isJSON: Bool { Output.isJSON(call) }

    func show() {
        guard !isJSON else { return }
        terminal.print("fleet-agent \(program.name), \(program.architecture), \(Human.bytes(program.size))")
        var table = Table(["", "AGENT", "NOW", ""])
        for (index, target) in plan.targets.enumerated() {
            table.add(["\(index + 1)", target.name, target.version ?? "", target.isCanary ? "canary" : ""])
        }
        for one in plan.skipped { table.add(["-", one.name, one.version ?? "", one.reason]) }
        table.print(terminal)
    }

    func finish() throws(FleetError) {
        if isJSON { try Output.json(Result(program: program, planned: plan.targets, skipped: plan.skipped), call) }
    }

    func run() async throws(FleetError) -> ExitStatus {
        try await upload()
        Interruption.says("an upgrade that was begun goes on, and no other is begun; see 'fleetctl job list'")
        var result = Result(program: program, planned: plan.targets, skipped: plan.skipped)
        var left = plan.targets.count
        for target in plan.targets {
            left -= 1
            var agent = Result.Agent(cluster: target.cluster, node: target.node)
            do throws(FleetError) {
                let job = try await upgrade(target)
                agent.job = job.id
                guard job.state == .succeeded else {
                    throw job.error ?? FleetError(.internalError, "the job ended as \(job.state.rawValue)")
                }
                result.upgraded.append(agent)
                if !isJSON { terminal.print("\(target.name)  \(terminal.green("ok"))  runs \(program.name)") }
            } catch {
                // Somebody else was faster, with this very program.
                if error.code == .alreadyExists {
                    result.upgraded.append(agent)
                    continue
                }
                agent.error = error
                result.failed.append(agent)
                tell(target, agent, error)
                break
            }
        }
        Interruption.isOver()
        if isJSON { try Output.json(result, call) }
        if result.failed.isEmpty { return plan.isWhole ? .success : .partialFailure }
        if left > 0, let failed = result.failed.first {
            terminal.note(
                "stopped here: \(left) \(left == 1 ? "agent is" : "agents are") untouched; the same command goes on with them, "
                    + "without the one that failed by --skip \(failed.cluster)/\(failed.node)")
        }
        let someRunIt = !result.upgraded.isEmpty || plan.skipped.contains(where: \.isDone)
        return someRunIt ? .partialFailure : .failure
    }

    private func tell(_ target: UpgradePlan.Target, _ agent: Result.Agent, _ error: FleetError) {
        guard !isJSON else { return }
        terminal.print("\(target.name)  \(terminal.red("FAILED"))  \(Terminal.clean(error.message)) (\(error.code))")
        if let hint = error.hint { terminal.note("\(target.name)  hint: \(Terminal.clean(hint))") }
        if let job = agent.job { terminal.note("\(target.name)  step by step: fleetctl job show \(job)") }
    }

    /// Once for all of them; where the coordinator has it, none of its bytes travel.
    private func upload() async throws(FleetError) {
        let announced = StreamDigest(length: program.size, sha256: program.sha256)
        let stream = try await control.connected().open(ControlMethod.uploadProgram, try JSON.encode(announced))
        let path = self.path
        do throws(FleetError) {
            let offset = try await stream.receiveMessage(UploadOffset.self).offset
            let file = try await onDisk { () throws(FleetError) in
                let file = try HashedFile(reading: path)
                try file.skip(to: offset)
                return file
            }
            while true {
                let bytes = try await onDisk { () throws(FleetError) in try file.read(256 << 10) }
                if bytes.isEmpty { break }
                try await stream.send(bytes)
            }
            try await stream.finish(StreamDigest(length: file.length, sha256: file.digest))
            let stored = try JSON.decode(ProgramRecord.self, from: try await stream.receiveReply())
            guard stored == program else {
                throw FleetError(.protocolViolation, "the coordinator has stored another program than was sent")
            }
        } catch {
            await stream.fail(error)
            throw error.during("upload of \(Names.quote(path))")
        }
    }

    /// A cluster does one thing at a time, and so does a node: a backup or restore has its end first, for an hour at most.
    private func upgrade(_ target: UpgradePlan.Target) async throws(FleetError) -> JobRecord {
        let deadline = ContinuousClock.now + .seconds(3600)
        var isTold = false
        while true {
            let begun = try await begin(target, until: deadline, &isTold)
            let absence = Task { await tellAbsence(of: target) }
            defer { absence.cancel() }
            let job = try await JobWatch.follow(begun.id, control) { event in
                guard terminal.errorIsTerminal, !isJSON, event.kind == .stepStarted, let step = event.step else {
                    return
                }
                terminal.note("\(target.name)  \(step) ...")
            }
            guard job.state == .refused, let error = job.error, error.code == .busy, ContinuousClock.now < deadline
            else { return job }
            wait(target, error, &isTold)
            // Each try is a job that is kept.
            do { try await Task.sleep(for: .seconds(20)) } catch { throw FleetError(error) }
        }
    }

    /// A new program is away for some seconds; whoever stays away longer may have lost its power.
    private func tellAbsence(of target: UpgradePlan.Target) async {
        var misses = 0
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(10)) } catch { return }
            let agents: [AgentRecord]? = try? await control.ask(
                ControlMethod.listAgents, ListRequest(cluster: target.cluster))
            guard let agent = agents?.first(where: { $0.node == target.node }) else { continue }
            misses = agent.connected ? 0 : misses + 1
            guard misses == 3 else { continue }
            terminal.note(
                "\(target.name)  is not connected; where the new program is the reason, the former one comes back by itself. After "
                    + "ten minutes without a sign of it the job counts as lost, and until then \(target.cluster) is busy"
            )
        }
    }

    private func wait(_ target: UpgradePlan.Target, _ error: FleetError, _ isTold: inout Bool) {
        if !isTold { terminal.note("\(target.name)  waits: \(Terminal.clean(error.message))") }
        isTold = true
    }

    private func begin(
        _ target: UpgradePlan.Target, until deadline: ContinuousClock.Instant, _ isTold: inout Bool
    ) async throws(FleetError) -> JobRecord {
        while true {
            do throws(FleetError) {
                return try await control.call(
                    ControlMethod.upgradeAgent,
                    UpgradeRequest(cluster: target.cluster, node: target.node, sha256: program.sha256))
            } catch {
                guard error.code == "cluster-busy", ContinuousClock.now < deadline else { throw error }
                wait(target, error, &isTold)
            }
            do { try await Task.sleep(for: .seconds(2)) } catch { throw FleetError(error) }
        }
    }
}

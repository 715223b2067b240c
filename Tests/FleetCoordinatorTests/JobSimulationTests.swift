import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

/// Splitmix64: the same seed is the same schedule.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// An agent as the protocol demands it: it persists its counter before it begins, keeps events until they are
/// acknowledged, and can die between any two of these.
private struct ModelAgent {
    var counter: UInt64 = 0
    /// Accepted and not acknowledged to the end.
    var active: [String: [JobEvent]] = [:]
    var begun: [String: Int] = [:]
    var outcomes: [String: JobOutcome.Result] = [:]
    var nextSequence: [String: Int] = [:]

    enum Answer {
        case accepted
        case refused(FleetError)
        case silence
    }

    mutating func deliver(_ job: Job, now: Timestamp, dies: Bool) -> Answer {
        guard job.counter > counter else { return .refused(FleetError(.jobReplayed, "counter")) }
        guard now < job.expires else { return .refused(FleetError("expired", "late")) }
        counter = job.counter
        // Dead after the counter was persisted and before the job was.
        if dies { return .silence }
        begun[job.id, default: 0] += 1
        active[job.id] = []
        add(job.id, .accepted, now)
        return .accepted
    }

    mutating func add(_ job: String, _ kind: JobEvent.Kind, _ now: Timestamp, _ outcome: JobOutcome.Result? = nil) {
        let sequence = nextSequence[job, default: 0] + 1
        nextSequence[job] = sequence
        active[job]?.append(
            JobEvent(
                job: job, sequence: sequence, time: now, kind: kind, step: kind == .stepDone ? "s\(sequence)" : nil,
                outcome: outcome.map { JobOutcome(result: $0, summary: "done") }))
    }

    mutating func end(_ job: String, _ now: Timestamp, _ result: JobOutcome.Result) {
        guard outcomes[job] == nil else { return }
        outcomes[job] = result
        add(job, .outcome, now, result)
    }
}

@Suite("Job simulation")
struct JobSimulationTests {
    /// Every message may get lost, come twice or late; agent and coordinator die at any moment. The catalogue is the
    /// real one.
    @Test(arguments: 0..<150)
    func anySchedule(_ seed: Int) async throws {
        var random = SeededGenerator(state: UInt64(seed) &* 7919)
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        let node = NodeName(cluster: "a", node: "n1")
        try await catalogue.add(Fixture.record("s1"), by: "agent")
        var agent = ModelAgent()
        var isConnected = false
        var created: [String] = []
        var final: [String: JobState] = [:]
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

        func send(_ effects: [JobEffect]) async throws {
            for job in effects.compactMap(\.deliver) {
                guard let message = try await catalogue.willSend(job.id).deliver else { continue }
                if chance(20) { continue }
                let answer = agent.deliver(message, now: clock.now, dies: chance(15))
                // The same envelope once more: late from a former connection, or played again.
                if chance(20) { _ = agent.deliver(message, now: clock.now, dies: false) }
                // Two copies at once, and the refusal of the one overtakes the acceptance of the other.
                if case .accepted = answer, chance(10) {
                    _ = try await catalogue.answered(job.id, refusal: FleetError(.busy, "at \(job.id)"))
                }
                switch answer {
                case .accepted where chance(70): _ = try await catalogue.answered(job.id)
                case .refused(let error) where chance(70): _ = try await catalogue.answered(job.id, refusal: error)
                default: isConnected = false
                }
            }
        }

        func connect() async throws {
            isConnected = true
            let request = Fixture.registration(active: agent.active.keys.sorted(), counter: agent.counter)
            try await send(try await catalogue.registered(node, request, hasJustConnected: true))
        }

        for step in 0..<120 {
            clock.advance(.seconds(Int.random(in: 1...900, using: &random)))
            switch Int.random(in: 0..<9, using: &random) {
            case 0:
                do {
                    let job =
                        chance(50)
                        ? try await catalogue.createBackup(
                            cluster: "a", node: "n1", lifetime: .seconds(1800), by: "root")
                        : try await catalogue.createRestore(
                            RestoreOrder(snapshot: "s1"), cluster: "a", node: "n1", lifetime: .seconds(1800),
                            by: "root")
                    created.append(job.id)
                    if isConnected { try await send([JobEffect(deliver: try await catalogue.message(job.id))]) }
                } catch { #expect(FleetError(error).code == .clusterBusy) }
            case 1, 2: try await connect()
            case 3: isConnected = false
            case 4, 5:
                guard let job = agent.active.keys.sorted().randomElement(using: &random) else { break }
                if chance(50) {
                    agent.add(job, .stepDone, clock.now)
                } else {
                    let result: JobOutcome.Result = chance(60) ? .succeeded : .failed
                    let record = try await catalogue.job(job)
                    if record.kind == "backup", result == .succeeded, agent.outcomes[job] == nil {
                        try await catalogue.add(
                            Fixture.record(record.snapshot, job: job, saved: clock.now.description), by: "agent")
                    }
                    agent.end(job, clock.now, result)
                }
            case 6, 7:
                guard isConnected else { break }
                for job in agent.active.keys.sorted() {
                    for event in agent.active[job] ?? [] {
                        _ = try await catalogue.receive(event, from: node)
                        // The acknowledgement gets lost: the event comes again.
                        if chance(30) { continue }
                        agent.active[job]?.removeAll { $0.sequence == event.sequence }
                        if event.kind == .outcome { agent.active[job] = nil }
                    }
                }
            // The agent's disk is replaced, rarely: it knows of nothing any more but its counter.
            case 8 where chance(10): agent.active = [:]
            default: try await send(try await catalogue.tick(connected: isConnected ? [node] : []))
            }

            let jobs = try await catalogue.jobs(JobFilter(cluster: "a", limit: 1000))
            #expect(jobs.count == created.count)
            #expect(jobs.filter { $0.state.isOpen }.count <= 1, "seed \(seed) step \(step)")
            for job in jobs where !job.state.isOpen {
                if let former = final[job.id], former != job.state {
                    #expect([.lost, .expired, .failed, .refused].contains(former), "seed \(seed) step \(step)")
                    #expect(job.outcome != nil, "seed \(seed) step \(step)")
                }
                if let outcome = job.outcome { #expect(job.state.rawValue == outcome.result.rawValue) }
                final[job.id] = job.state
            }
        }
        #expect(agent.begun.values.allSatisfy { $0 == 1 }, "seed \(seed): a job was begun twice")

        // Nothing is heard any more: everything comes to an end.
        clock.advance(.seconds(30 * 86400))
        _ = try await catalogue.tick(connected: [])
        #expect(try await catalogue.jobs(JobFilter(openOnly: true)).isEmpty)
        let verdict = try await catalogue.verifyAudit()
        #expect(verdict.isIntact && verdict.findings.isEmpty)
    }
}

import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent
@testable import FleetCoordinator

/// Three members and a coordinator under thousands of schedules of crashes, reboots, lost and late messages, failing
/// steps and missed deadlines. Whatever happens, all members end with the restored data or all with the old, as the
/// coordinator says.
@Suite struct TransactionSimulationTests {
    static let nodes = ["n1", "n2", "n3"]
    static let check = ProofCheck(
        group: RestoreGroup(
            restore: "r", members: nodes.map { .init(node: $0, name: $0, peerURLs: ["https://\($0):2380"]) }),
        revision: 42)

    /// A message on its way: lost, late and twice are all possible, and none overtakes nothing.
    private enum Message {
        case decision(to: Int, RestoreDecision)
        case report(RestoreTransaction.Record)
    }

    private struct World {
        var random: SeededGenerator
        var agents = nodes.map { _ in SimulatedAgent() }
        var transaction = RestoreTransaction(TransactionSimulationTests.check)
        /// What the coordinator's database has.
        var records: [RestoreTransaction.Record] = []
        /// What `records` say of the decisions, kept beside them since it is asked at every step.
        private var isCommitted = false
        private var isRecalled = false
        var coordinatorIsUp = true
        var messages: [Message] = []
        var violation: String?
        /// Of a hundred steps, and of a hundred crashes those that take the machine with them.
        let failing: Int
        let rebooting: Int

        init(seed: UInt64) {
            random = SeededGenerator(state: seed)
            failing = [4, 20][Int(seed % 2)]
            rebooting = [40, 90][Int(seed / 2 % 2)]
        }

        mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        mutating func pick(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }

        mutating func write(_ record: RestoreTransaction.Record) {
            records.append(record)
            transaction.apply(record)
            guard case .decided(let decision) = record else { return }
            switch decision {
            case .proceed(.commit): isCommitted = true
            case .proceed: break
            case .recall: isRecalled = true
            }
        }

        /// One thing that may happen next. `faults`: also what should not.
        mutating func step(faults: Bool) {
            switch pick(faults ? 13 : 8) {
            case 0, 1:
                guard coordinatorIsUp else { break }
                if case .write(let record) = transaction.next() { write(record) }
            case 2:
                guard coordinatorIsUp else { break }
                let i = pick(3)
                // The first stands for the job itself.
                let isToBeTold = transaction.isToBeTold(TransactionSimulationTests.nodes[i])
                if transaction.decision == .proceed(.prepare) || isToBeTold {
                    messages.append(.decision(to: i, transaction.decision))
                }
            case 3, 4:
                let i = pick(3)
                if agents[i].isUp { agents[i].act(fails: faults && chance(failing)) }
            case 5:
                let i = pick(3)
                let name = TransactionSimulationTests.nodes[i]
                guard agents[i].isUp, let report = agents[i].report(of: name, in: TransactionSimulationTests.check)
                else { break }
                messages.append(.report(report))
            case 6, 7:
                guard !messages.isEmpty else { break }
                // Any of them: messages overtake each other. Sometimes it stays, to come a second time.
                let index = pick(messages.count)
                deliver(messages[index])
                if !faults || chance(80) { messages.remove(at: index) }
            case 8:
                let i = pick(3)
                if agents[i].isUp {
                    if chance(20) { agents[i].crash(reboots: chance(rebooting)) }
                } else {
                    agents[i].start()
                }
            case 9:
                if coordinatorIsUp { if chance(20) { coordinatorIsUp = false } } else { restartCoordinator() }
            case 10:
                if !messages.isEmpty { messages.remove(at: pick(messages.count)) }
            case 11:
                // Given up for lost, by silence or because its agent was revoked. It may come back all the same.
                let name = TransactionSimulationTests.nodes[pick(3)]
                let hasEnded = records.contains { if case .ended(name, _) = $0 { true } else { false } }
                if coordinatorIsUp, chance(1), !hasEnded {
                    write(.ended(node: name, .stuck(FleetError(.timedOut, "lost"))))
                }
            default:
                if coordinatorIsUp, case .wait(let phase?) = transaction.next(), phase < .commit, chance(3) {
                    write(.overdue(phase))
                }
            }
            check()
        }

        mutating func restartCoordinator() {
            coordinatorIsUp = true
            transaction = RestoreTransaction(TransactionSimulationTests.check)
            for record in records { transaction.apply(record) }
        }

        private mutating func deliver(_ message: Message) {
            switch message {
            case .decision(let i, let decision):
                guard agents[i].isUp else { return }
                // The job comes with the first word; a recalled one that never began has nothing to take back.
                if !agents[i].isBegun {
                    guard case .proceed(.prepare) = decision else {
                        if case .recall = decision, coordinatorIsUp {
                            write(.ended(node: TransactionSimulationTests.nodes[i], .takenBack))
                            refused.insert(i)
                        }
                        return
                    }
                    guard !refused.contains(i) else { return }
                    agents[i].begin()
                }
                agents[i].hear(decision)
            case .report(let record):
                guard coordinatorIsUp else { return }
                write(record)
            }
        }
        /// Nodes that were told of a recall before they had begun: their counter is above the job's, which they refuse.
        private var refused: Set<Int> = []

        private mutating func check() {
            if isCommitted, isRecalled { violation = "committed and recalled" }
            for agent in agents {
                let node = agent.node
                if node.controlPlane, node.etcd == .new, !isCommitted { violation = "written to before the commit" }
                if isCommitted, !node.newFiles { violation = "committed while a member has its old files" }
                if isCommitted, node.etcd == .old { violation = "an old etcd runs behind the commit" }
                if node.newFiles, !node.hasNewData { violation = "switched to data that is not there" }
            }
        }
    }

    /// - Returns: nil, or what was wrong.
    private static func run(seed: UInt64, faults: Int) -> (problem: String?, verdict: RestoreTransaction.Verdict?) {
        var world = World(seed: seed)
        // Three of four begin their faults late: else hardly one would come as far as the commit before it is taken back.
        let quiet = [nil, RestoreDecision.proceed(.start), .proceed(.verify), .proceed(.commit)][Int(seed / 7 % 4)]
        if faults > 0, let quiet {
            for _ in 0..<4000 where world.transaction.decision != quiet { world.step(faults: false) }
        }
        for _ in 0..<faults { world.step(faults: true) }
        // Everything is mended; stuck ones are started again by a person.
        for _ in 0..<20 {
            world.restartCoordinator()
            for i in world.agents.indices {
                if case .end(.stuck, _) = world.agents[i].next { world.agents[i].crash(reboots: false) }
                if !world.agents[i].isUp { world.agents[i].start() }
            }
            for _ in 0..<4000 {
                world.step(faults: false)
                if case .end(let verdict, _) = world.transaction.next(), verdict != .stuck,
                    world.agents.allSatisfy(\.isIdle)
                {
                    break
                }
            }
            if case .end(let verdict, _) = world.transaction.next(), verdict != .stuck { break }
        }
        if let violation = world.violation { return (violation, nil) }
        guard case .end(let verdict, let reason) = world.transaction.next() else { return ("it does not end", nil) }
        let expected: SimulatedMachine
        switch verdict {
        case .succeeded: expected = .new
        case .failed, .rolledBack: expected = .old
        case .stuck: return ("stuck: \(reason.map { "\($0)" } ?? "")", verdict)
        }
        for (i, agent) in world.agents.enumerated() where agent.node != expected {
            return ("\(verdict), and n\(i + 1) is \(agent.node)", verdict)
        }
        return (nil, verdict)
    }

    @Test func withoutFaultsItSucceeds() {
        for seed in 0..<200 {
            let result = Self.run(seed: UInt64(seed), faults: 0)
            #expect(result.problem == nil && result.verdict == .succeeded, "seed \(seed): \(result.problem ?? "")")
        }
    }

    @Test(arguments: 0..<10) func thousandsOfSchedules(block: Int) {
        var verdicts: [RestoreTransaction.Verdict: Int] = [:]
        for seed in 0..<1000 {
            let seed = UInt64(block * 1000 + seed)
            let result = Self.run(seed: seed, faults: 50 + Int(seed % 7) * 100)
            #expect(result.problem == nil, "seed \(seed): \(result.problem ?? "")")
            if let verdict = result.verdict { verdicts[verdict, default: 0] += 1 }
        }
        // The schedules reach every end, or they show nothing.
        #expect(verdicts[.succeeded, default: 0] > 0)
        #expect(verdicts[.failed, default: 0] > 0)
        #expect(verdicts[.rolledBack, default: 0] > 0)
    }
}

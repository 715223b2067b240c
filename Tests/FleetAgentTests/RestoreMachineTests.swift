import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// Every course of a restore with a crash before or after every single act, on the same boot and on another: the state
/// that the node ends in is the old one or the new one, never half of each.
@Suite struct RestoreMachineTests {
    /// A node as far as the steps change it. A step may have been done in part when the crash comes, so every act is
    /// done either not at all, or wholly, with its record lost.
    private struct Node: Equatable {
        var newData = false
        var controlPlane = true
        var oldEtcd = true
        var newEtcd = false
        var newFiles = false

        mutating func perform(_ step: RestoreStep) {
            switch step {
            case .restoreData: newData = true
            case .stopControlPlane: controlPlane = false
            case .stopEtcd: (oldEtcd, newEtcd) = (false, false)
            case .switchFiles: newFiles = true
            case .startEtcd: (oldEtcd, newEtcd) = (!newFiles, newFiles)
            case .startControlPlane: controlPlane = true
            default: break
            }
        }
        mutating func undo(_ step: RestoreStep) {
            switch step {
            case .restoreData: newData = false
            case .stopControlPlane: controlPlane = true
            case .stopEtcd: (oldEtcd, newEtcd) = (!newFiles, newFiles)
            case .switchFiles: newFiles = false
            case .startEtcd: (oldEtcd, newEtcd) = (false, false)
            default: break
            }
        }
        /// After a boot, everything that is configured to run does.
        mutating func reboot() { (oldEtcd, newEtcd) = (!newFiles, newFiles) }

        static let old = Node()
        static let new = Node(newData: true, controlPlane: true, oldEtcd: false, newEtcd: true, newFiles: true)
    }

    private static let steps: [RestoreStep] = [
        .fetch, .checkSnapshot, .preflight, .restoreData, .stopControlPlane, .stopEtcd, .switchFiles, .startEtcd,
        .verify, .startControlPlane, .finish,
    ]
    private static let boots = (0..<4).map { BootIdentity(bootID: "b\($0)", firstProcessStart: 1) }
    private static let failure = FleetError(.verificationFailed, "test")

    private enum Crash { case none, process, machine }

    /// Runs to the end; `crash` is asked before each act and after each, with a running number.
    private func run(
        failing: RestoreStep? = nil, failingAgain: RestoreStep? = nil, undoFailing: RestoreStep? = nil,
        expired: Bool = false,
        crash: (Int) -> Crash = { _ in .none }
    ) -> (node: Node, verdict: RestoreMachine.Verdict, moments: Int) {
        var node = Node()
        var journal: [RestoreEntry] = []
        var boot = 0
        var machine = RestoreMachine(steps: Self.steps, boot: Self.boots[0])
        var moment = 0
        var performed: Set<RestoreStep> = []

        func write(_ record: RestoreEntry) {
            journal.append(record)
            machine.apply(record)
        }
        /// True when the agent died here and has read its journal again.
        func died() -> Bool {
            defer { moment += 1 }
            let kind = crash(moment)
            if kind == .none { return false }
            if kind == .machine {
                boot += 1
                node.reboot()
            }
            machine = RestoreMachine(steps: Self.steps, boot: Self.boots[0])
            for record in journal { machine.apply(record) }
            write(.resumed(boot: Self.boots[boot], expired: expired))
            return true
        }
        for _ in 0..<1000 {
            if died() { continue }
            switch machine.next() {
            case .write(let record): write(record)
            case .perform(let step):
                // What a step needs must hold whenever it runs.
                if step == .switchFiles { #expect(node.newData) }
                if step == .startControlPlane { #expect(node.newEtcd && !node.oldEtcd) }
                if step == failing || step == failingAgain && !performed.insert(step).inserted {
                    write(.failed(step, Self.failure))
                    continue
                }
                node.perform(step)
                if died() { continue }
                write(.done(step, note: nil))
            case .undo(let step):
                if step == undoFailing {
                    write(.undoFailed(step, Self.failure))
                    continue
                }
                node.undo(step)
                if died() { continue }
                write(.undone(step))
            case .wait:
                Issue.record("one member alone waits for nobody")
                return (node, .stuck, moment)
            case .end(let verdict, _): return (node, verdict, moment)
            }
        }
        Issue.record("it does not end")
        return (node, .stuck, moment)
    }

    @Test func straight() {
        let result = run()
        #expect(result.verdict == .succeeded)
        #expect(result.node == .new)
    }

    @Test(arguments: steps) func failureOfEachStep(step: RestoreStep) {
        let result = run(failing: step)
        switch step.phase {
        case .prepare:
            #expect(result.verdict == .failed)
            #expect(result.node == .old)
        case .quiesce, .stop, .start, .verify:
            #expect(result.verdict == .rolledBack)
            #expect(result.node == .old)
        case .commit: #expect(result.verdict == .stuck)
        }
    }

    @Test(arguments: [RestoreStep.stopControlPlane, .switchFiles, .stopEtcd]) func failureOfTheWayBack(
        step: RestoreStep
    ) {
        #expect(run(failing: .verify, undoFailing: step).verdict == .stuck)
    }

    /// One crash and two crashes, of the agent and of the machine, at every moment of every course.
    @Test func crashesEverywhere() {
        let courses: [RestoreStep?] = [nil] + Self.steps.filter { $0.phase != .commit }.map { $0 }
        var schedules = 0
        for failing in courses {
            let expected = run(failing: failing)
            for first in 0..<expected.moments + 4 {
                for second in first..<expected.moments + 8 {
                    for kinds in [
                        (Crash.process, Crash.process), (.machine, .process), (.process, .machine),
                        (.machine, .machine),
                    ] {
                        let result = run(failing: failing) { $0 == first ? kinds.0 : $0 == second ? kinds.1 : .none }
                        #expect(result.verdict == expected.verdict)
                        #expect(result.node == expected.node)
                        schedules += 1
                    }
                }
            }
        }
        #expect(schedules > 10_000)
    }

    /// After a reboot the switch is done again, and a step that went well before may fail now: then everything that was
    /// done before the reboot is taken back too.
    @Test(arguments: steps.filter { $0.phase > .prepare && $0.phase < .commit })
    func aStepThatFailsWhenItIsDoneAgain(step: RestoreStep) {
        var rolledBack = 0
        for moment in 0..<run().moments {
            let result = run(failingAgain: step) { $0 == moment ? .machine : .none }
            #expect(result.node == (result.verdict == .succeeded ? .new : .old), "moment \(moment)")
            if result.verdict == .rolledBack { rolledBack += 1 }
        }
        #expect(rolledBack > 0)
    }

    @Test func expiredDuringThePreparation() {
        for moment in 0..<60 {
            let result = run(expired: true) { $0 == moment ? .process : .none }
            if result.verdict == .failed { #expect(result.node == .old) } else { #expect(result.node == .new) }
        }
        #expect(run(expired: true) { $0 == 1 ? .process : .none }.verdict == .failed)
    }

    @Test func stuckIsTriedAgainAtTheNextStart() {
        var machine = RestoreMachine(steps: Self.steps, boot: Self.boots[0])
        for record: RestoreEntry in [
            .started(.fetch), .done(.fetch, note: nil), .started(.checkSnapshot), .failed(.checkSnapshot, Self.failure),
            .undoStarted(.checkSnapshot), .undoFailed(.checkSnapshot, Self.failure),
        ] { machine.apply(record) }
        #expect(machine.next() == .end(.stuck, Self.failure))
        machine.apply(.resumed(boot: Self.boots[0], expired: false))
        #expect(machine.next() == .write(.undoStarted(.checkSnapshot)))
    }

    // MARK: one of several

    /// A member that has ended its verification, before it heard of the commit.
    private func verified() -> RestoreMachine {
        var machine = RestoreMachine(steps: Self.steps, boot: Self.boots[0], isMember: true)
        for phase in RestorePhase.allCases where phase < .commit { machine.apply(.decided(.proceed(phase))) }
        perform(&machine)
        #expect(machine.next() == .wait(reached: .verify, nil))
        return machine
    }

    /// Everything that it may do, until it waits or ends.
    private func perform(_ machine: inout RestoreMachine, failing: RestoreStep? = nil) {
        for _ in 0..<100 {
            switch machine.next() {
            case .write(let record): machine.apply(record)
            case .perform(let step):
                machine.apply(step == failing ? .failed(step, Self.failure) : .done(step, note: nil))
            case .undo(let step): machine.apply(.undone(step))
            case .wait, .end: return
            }
        }
    }

    /// The power goes between a member's last word and the commit, and the switch, done again, fails: the others are
    /// committed, so it has to go on, and may never take anything back.
    @Test func committedWhileItFails() {
        var machine = verified()
        machine.apply(.resumed(boot: Self.boots[1], expired: false))
        perform(&machine, failing: .startEtcd)
        #expect(machine.next() == .wait(reached: .verify, Self.failure))
        machine.apply(.decided(.proceed(.commit)))
        #expect(machine.next() == .write(.started(.startEtcd)))
        var failsAgain = machine
        perform(&machine)
        #expect(machine.next() == .end(.succeeded, nil))

        perform(&failsAgain, failing: .startEtcd)
        #expect(failsAgain.next() == .end(.stuck, Self.failure))
        // A person has mended it and started the agent again.
        failsAgain.apply(.resumed(boot: Self.boots[1], expired: false))
        #expect(failsAgain.next() == .write(.started(.startEtcd)))
        perform(&failsAgain)
        #expect(failsAgain.next() == .end(.succeeded, nil))
    }
}

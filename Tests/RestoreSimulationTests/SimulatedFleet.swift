import FleetProtocol
import FleetSystem

@testable import FleetAgent
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

/// What a step changes on a node: what its disk says is to run, and what runs.
struct SimulatedMachine: Equatable {
    var hasNewData = false
    var newFiles = false
    /// A control plane's manifests in their place.
    var controlPlane = true
    enum Etcd { case old, new, off }
    var etcd = Etcd.old

    mutating func perform(_ step: RestoreStep) {
        switch step {
        case .restoreData: hasNewData = true
        case .stopControlPlane: controlPlane = false
        case .stopEtcd: etcd = .off
        case .switchFiles: newFiles = true
        case .startEtcd: etcd = newFiles ? .new : .old
        case .startControlPlane: controlPlane = true
        default: break
        }
    }

    mutating func undo(_ step: RestoreStep) {
        switch step {
        case .restoreData: hasNewData = false
        case .stopControlPlane: controlPlane = true
        case .stopEtcd: etcd = newFiles ? .new : .old
        case .switchFiles: newFiles = false
        case .startEtcd: etcd = .off
        default: break
        }
    }

    mutating func reboot() { etcd = newFiles ? .new : .old }

    static let old = SimulatedMachine()
    static let new = SimulatedMachine(hasNewData: true, newFiles: true, controlPlane: true, etcd: .new)
}

/// An agent over its real state machine: what it has written down survives a crash, nothing else does.
struct SimulatedAgent {
    static let steps: [RestoreStep] = [
        .fetch, .checkSnapshot, .preflight, .restoreData, .stopControlPlane, .stopEtcd, .switchFiles, .startEtcd,
        .verify, .startControlPlane, .finish,
    ]
    var node = SimulatedMachine()
    private var journal: [RestoreEntry] = []
    private var boot = 0
    private var machine: RestoreMachine?
    /// In the middle of an act: done, and not yet written down.
    private var unwritten: RestoreEntry?
    var isUp = true

    private static func identity(_ boot: Int) -> BootIdentity { .init(bootID: "b\(boot)", firstProcessStart: 1) }

    var isBegun: Bool { machine != nil }
    var next: RestoreMachine.Action? { machine?.next() }
    /// Everything that it does it has done before; only the coordinator's word brings it on.
    var isIdle: Bool {
        guard unwritten == nil, let next else { return true }
        switch next {
        case .wait, .end: return true
        default: return false
        }
    }

    mutating func begin() {
        guard machine == nil else { return }
        machine = RestoreMachine(steps: Self.steps, boot: Self.identity(boot), isMember: true)
    }

    mutating func hear(_ decision: RestoreDecision) { write(.decided(decision)) }

    private mutating func write(_ entry: RestoreEntry) {
        guard machine != nil else { return }
        journal.append(entry)
        machine?.apply(entry)
    }

    /// One act, in two halves with room for a crash in between.
    mutating func act(fails: Bool) {
        if let entry = unwritten {
            unwritten = nil
            return write(entry)
        }
        switch next {
        case .write(let entry): write(entry)
        case .perform(let step):
            if fails {
                unwritten = .failed(step, FleetError(.timedOut, "simulated"))
            } else {
                node.perform(step)
                unwritten = .done(step, note: nil)
            }
        case .undo(let step):
            if fails {
                unwritten = .undoFailed(step, FleetError(.timedOut, "simulated"))
            } else {
                node.undo(step)
                unwritten = .undone(step)
            }
        case .wait, .end, nil: break
        }
    }

    mutating func crash(reboots: Bool) {
        isUp = false
        unwritten = nil
        if reboots {
            boot += 1
            node.reboot()
        }
    }

    mutating func start() {
        isUp = true
        guard machine != nil else { return }
        var again = RestoreMachine(steps: Self.steps, boot: Self.identity(0), isMember: true)
        for entry in journal { again.apply(entry) }
        machine = again
        if case .end(let verdict, _) = again.next(), verdict != .stuck { return }
        write(.resumed(boot: Self.identity(boot), expired: false))
    }

    /// What it tells the coordinator, again and again until that has taken it.
    func report(of node: String, in check: ProofCheck) -> RestoreTransaction.Record? {
        switch next {
        case .wait(let phase, nil): .reached(node: node, phase, phase == .verify ? proof(of: node, check) : nil)
        case .wait(_, let error?): .failed(node: node, error)
        case .end(.succeeded, _): .ended(node: node, .succeeded)
        case .end(.stuck, let error): .ended(node: node, .stuck(error ?? FleetError(.timedOut, "simulated")))
        case .end: .ended(node: node, .takenBack)
        default: nil
        }
    }

    /// Of the data that its etcd really runs on.
    private func proof(of name: String, _ check: ProofCheck) -> MemberProof {
        let ids = check.group.memberIDs.sorted().map { String($0, radix: 16) }
        let member = check.group.members.first { $0.node == name }!
        return MemberProof(
            memberID: String(check.group.memberID(member), radix: 16),
            clusterID: String(check.group.clusterID, radix: 16), leader: ids[0], members: ids,
            revision: check.revision ?? 0, hashKV: node.etcd == .new ? 7 : 8, compactRevision: 0)
    }
}

import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// A person's decision where the coordinator is lost: only what makes no mix of old and restored data.
@Suite struct OrphanedRestoreTests {
    private let recall = RestoreDecision.recall(FleetError("recalled-by-hand", "test"))

    /// A node whose journal has these records behind the plan.
    private func node(_ entries: [RestoreEntry], isMember: Bool = true) throws -> (NodeTree, AgentPaths) {
        let tree = try NodeTree(Layouts.kubeadm)
        var work = try MemberTests.work(tree)
        if !isMember { work.group = nil }
        let paths = AgentPaths(state: tree.root + "/state")
        try FileSystem.makeDirectories(paths.job("j1"))
        let journal = try Journal<RestoreEntry>(paths.journal("j1"))
        for entry in [.planned(work, boot: try .current())] + entries { try journal.append(entry) }
        return (tree, paths)
    }

    /// Everything up to the end of a phase, released as it came.
    private func upTo(_ phase: RestorePhase, _ steps: [RestoreStep]) -> [RestoreEntry] {
        RestorePhase.allCases.prefix { $0 <= phase }.flatMap { phase -> [RestoreEntry] in
            [.decided(.proceed(phase))]
                + steps.filter { $0.phase == phase }.flatMap { [.started($0), .done($0, note: nil)] }
        }
    }

    private var steps: [RestoreStep] {
        get throws { try MemberTests.work(try NodeTree(Layouts.kubeadm)).steps }
    }

    @Test func whatWaitsIsTakenBack() throws {
        let (_tree, paths) = try node(upTo(.stop, try steps))
        let restore = try OrphanedRestore.find(paths)
        #expect(restore.standing == "has ended stop; waits for the others")
        #expect { try restore.decide(.proceed(.commit)) } throws: { ($0 as? FleetError)?.code == .notDecidable }
        try restore.decide(recall)
        #expect(try OrphanedRestore.find(paths).standing == "is being taken back")
        _ = _tree
    }

    @Test func whatIsCommittedIsNotTakenBack() throws {
        let (_tree, paths) = try node(upTo(.verify, try steps) + [.decided(.proceed(.commit))])
        let restore = try OrphanedRestore.find(paths)
        #expect(restore.standing == "committed: the others must be too")
        #expect { try restore.decide(recall) } throws: { ($0 as? FleetError)?.code == .notDecidable }
        _ = _tree
    }

    @Test func whatIsVerifiedCanBeBoth() throws {
        for decision in [recall, .proceed(.commit)] {
            let (_tree, paths) = try node(upTo(.verify, try steps))
            try OrphanedRestore.find(paths).decide(decision)
            let after = try OrphanedRestore.find(paths).machine
            #expect(after.isCommitted == (decision == .proceed(.commit)))
            _ = _tree
        }
    }

    /// A node in the middle of a restore has its manifests elsewhere: it is not one without etcd, nor a verifier.
    @Test func whoLooksForEtcdMeanwhileIsToldOfTheRestore() throws {
        let none = FleetError(.noEtcd, "no etcd here", hint: "run it elsewhere")
        let (_tree, paths) = try node(upTo(.stop, try steps))
        let restore = try OrphanedRestore.find(paths)
        try FileSystem.makeDirectories(restore.work.holdingDirectory)
        try FileSystem.writeDurably(restore.work.holdingDirectory + "/etcd.yaml", [1])
        let error = JournalledRestore.explain(none, paths)
        #expect(error.code == .restoreUnfinished)
        #expect(error.message.hasSuffix("in \(restore.work.holdingDirectory): etcd.yaml"))
        #expect(error.hint?.contains("fleetctl job show \(restore.work.group?.restore ?? "")") == true)
        let (_over, over) = try node(upTo(.commit, try steps) + [.concluded(.succeeded)])
        #expect(JournalledRestore.explain(none, over) == none)
        _ = (_tree, _over)
    }

    /// The others heard the commit and their clients write; this one lost its power, and failed when it did the switch again.
    @Test func whatFailedBehindItsVerificationCanStillBeCommitted() throws {
        let boot = BootIdentity(bootID: "another", firstProcessStart: 1)
        let (_tree, paths) = try node(
            upTo(.verify, try steps) + [
                .resumed(boot: boot, expired: false), .started(.verify), .failed(.verify, FleetError(.unhealthy, "x")),
            ])
        #expect(try OrphanedRestore.find(paths).standing.hasPrefix("has failed, and waits for what is decided"))
        try OrphanedRestore.find(paths).decide(.proceed(.commit))
        #expect(try OrphanedRestore.find(paths).machine.isCommitted)
        _ = _tree
    }

    /// No other can be committed then.
    @Test func whatWasNeverVerifiedCanOnlyBeTakenBack() throws {
        let (_tree, paths) = try node(
            upTo(.start, try steps) + [
                .decided(.proceed(.verify)), .started(.verify), .failed(.verify, FleetError(.unhealthy, "x")),
            ])
        #expect { try OrphanedRestore.find(paths).decide(.proceed(.commit)) } throws: {
            ($0 as? FleetError)?.code == .notDecidable
        }
        try OrphanedRestore.find(paths).decide(recall)
        #expect(try OrphanedRestore.find(paths).standing == "is being taken back")
        _ = _tree
    }

    /// It goes on by itself, and so does what has ended.
    @Test func nothingElseNeedsAPerson() throws {
        let (_alone, alone) = try node([], isMember: false)
        for paths in [alone, AgentPaths(state: "/nonexistent")] {
            #expect { try OrphanedRestore.find(paths) } throws: { ($0 as? FleetError)?.code == .notFound }
        }
        _ = _alone
    }

    /// A member that has come to its end knows what was decided, and nobody else may any more.
    @Test func whatIsAtItsEndTellsTheOthers() throws {
        let (_done, done) = try node(upTo(.verify, try steps) + [.decided(.proceed(.commit)), .concluded(.succeeded)])
        #expect(try OrphanedRestore.find(done).standing.hasPrefix("committed, and at its end here"))
        #expect { try OrphanedRestore.find(done).decide(recall) } throws: { error in
            (error as? FleetError)?.code == .notDecidable && (error as? FleetError)?.hint?.contains("commit") == true
        }
        let (_back, back) = try node(upTo(.stop, try steps) + [.decided(recall), .concluded(.rolledBack)])
        #expect(try OrphanedRestore.find(back).standing.hasPrefix("taken back, and at its end here"))
        _ = (_done, _back)
    }
}

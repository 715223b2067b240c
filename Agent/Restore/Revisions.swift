internal import FleetProtocol
internal import FleetSystem

/// What becomes of etcd's revisions at a restore. Who watches (every Kubernetes component does) goes on from the revision that
/// it saw last; restored data that counts from the snapshot's on would give it another history under the same numbers.
extension RestoreWork {
    /// Bumps only where tool and etcd can, and says what follows in either case.
    ///
    /// - Parameter tool: the one that restores; nil where there is none, which the preparation finds out.
    mutating func settleRevisions(_ tool: EtcdTool?) {
        let obstacle = obstacleToBump(tool)
        if let wanted = bump, obstacle == nil {
            let own = snapshot.facts.status.revision
            plan.revisions =
                "revision \(wanted.target): the snapshot's \(own), bumped by \(wanted.amount) "
                + "(\(max(0, wanted.lastKnown - own)) up to the last one known, and a margin of \(RevisionBump.margin)), "
                + "so that watchers are told to list again"
            return
        }
        let isWanted = bump != nil
        bump = nil
        var why = "as was asked for"
        if let obstacle, isWanted { why = "since \(obstacle) can't (3.4.27, 3.5.10 and newer can)" }
        plan.revisions =
            "revision \(revision), not bumped, \(why); watchers would see revisions go back: \(whatToRestart)"
    }

    /// What is too old for it; nil where nothing is. Several members are compared by their hashes at the bumped revision, which
    /// an old etcd tells only until the first lease ends, and of Kubernetes' own some do after 15 s.
    private func obstacleToBump(_ tool: EtcdTool?) -> String? {
        guard let tool, tool.version.bumpsRevisions else { return tool?.description ?? "the node's tool" }
        guard group != nil else { return nil }
        // One that does not run, in a container, tells no version. Its own tool does; else most likely it is what the snapshot
        // was saved from.
        let etcd =
            instance.version.flatMap { EtcdVersion($0) }
            ?? (tool.isCopy ? tool.version : EtcdVersion(snapshot.facts.etcdVersion))
        return etcd.flatMap { $0.hashesCompacted ? nil : "etcd \($0)" }
    }

    /// Where revisions go back, whoever watched holds resource versions from the future and believes in them
    /// (kubernetes/kubernetes#118501). With the apiservers gone and back that is everybody behind them.
    var whatToRestart: String {
        controlPlane.isEmpty
            ? "restart all clients of this etcd; behind a kube-apiserver also everything that watches it, the kubelets "
                + "above all"
            : "restart the kubelet on every node, workers too, and everything else that watches the apiserver "
                + "(controllers, operators)"
    }
}

extension RestoreSteps {
    /// The coordinator knows what was saved, the running etcd what it is at.
    func checkBump() throws(FleetError) {
        guard let bump = work.bump, let live = work.plan.liveRevision, live >= bump.target else { return }
        throw FleetError(
            .verificationFailed,
            "etcd is at revision \(live), beyond the \(bump.target) that revisions would be bumped to",
            hint: "back it up (fleetctl backup \(work.plan.cluster)), then restore again: the bump goes on from there")
    }

    /// Told before anything is touched: members that would come to different revisions are no cluster.
    var planned: MemberProof {
        MemberProof(
            memberID: String(work.memberID, radix: 16), clusterID: String(work.clusterID, radix: 16), leader: nil,
            members: work.memberIDs.sorted().map { String($0, radix: 16) }, revision: work.revision, hashKV: 0,
            compactRevision: 0)
    }
}

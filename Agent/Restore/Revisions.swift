internal import FleetProtocol
internal import FleetSystem

/// What becomes of etcd's revisions at a restore. Who watches (every Kubernetes component does) goes on from the revision that
/// it saw last; restored data that counts from the snapshot's on would give it another history under the same numbers.
extension RestoreWork {
    /// Bumps only where the tool can, and says what follows in either case.
    ///
    /// - Parameter tool: the one that restores; nil where there is none, which the preparation finds out.
    mutating func settleRevisions(_ tool: EtcdTool?) {
        let own = snapshot.facts.status.revision
        if let wanted = bump, tool?.version.bumpsRevisions == true {
            plan.revisions =
                "revision \(wanted.target): the snapshot's \(own), bumped by \(wanted.amount) "
                + "(\(max(0, wanted.lastKnown - own)) up to the last one known, and a margin of \(RevisionBump.margin)), "
                + "so that watchers are told to list again"
            return
        }
        let follows = "watchers would see revisions go back: \(whatToRestart)"
        if bump != nil {
            plan.revisions =
                "revision \(own), not bumped, since \(tool?.description ?? "the node's tool") can't "
                + "(3.4.27, 3.5.10 and newer can); \(follows)"
        } else {
            plan.revisions = "revision \(own), not bumped, as was asked for; \(follows)"
        }
        bump = nil
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

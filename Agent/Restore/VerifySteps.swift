internal import FleetProtocol
internal import FleetSystem

/// Whether what serves now is what was meant.
extension RestoreSteps {
    /// - Throws: `verification-failed` with what differs, `corrupt-alarm`.
    func verify() throws(FleetError) -> StepReport {
        let deadline = ContinuousClock.now + .seconds(work.waitSeconds)
        try waitUntilHealthy()
        let client = try client()
        // One answer that shows something else is final; none, because a leader is elected just then, is not.
        let (note, alarms) = try Waiting.persistently(until: deadline) { () throws(FleetError) in
            (try compare(client), try harmlessAlarms(client))
        }
        var report = try settle(alarms, client, until: deadline)
        report.note = [note, report.note].compactMap(\.self).joined(separator: "; ")
        return report
    }

    /// - Returns: for people.
    private func compare(_ client: EtcdClient) throws(FleetError) -> String {
        let status = try client.status()
        func expect(_ holds: Bool, _ what: @autoclosure () -> String) throws(FleetError) {
            guard holds else {
                throw FleetError(
                    .verificationFailed, what(),
                    hint: "the \(work.configurationBefore) is put back; see etcd's log for the cause")
            }
        }
        try expect(
            status.memberID == work.memberID,
            "the member's id is \(hex(status.memberID)), the restored one's is \(hex(work.memberID))")
        try expect(
            status.clusterID == work.clusterID,
            "the cluster's id is \(hex(status.clusterID)), the restored one's is \(hex(work.clusterID))")
        let members = try client.members().map(\.id).sorted()
        let planned = work.memberIDs.sorted()
        try expect(
            members == planned,
            "the cluster's members are \(members.map(hex).joined(separator: ", ")), the restored ones are "
                + planned.map(hex).joined(separator: ", "))
        try expect(!status.isLearner, "the member is a learner")
        return work.undoes == nil ? try verifyRestored(status, client) : try verifyUndone(status, client)
    }

    /// They come with the snapshot and are not a fault of the restore.
    func harmlessAlarms(_ client: EtcdClient) throws(FleetError) -> [EtcdClient.Alarm] {
        let alarms = try client.alarms()
        guard !alarms.contains(where: { $0.kind == .corrupt }) else {
            throw FleetError(
                .corruptAlarm, "the restored etcd raises the CORRUPT alarm", hint: "restore another snapshot")
        }
        return alarms
    }

    /// - Returns: for people.
    private func verifyRestored(_ status: EtcdClient.Status, _ client: EtcdClient) throws(FleetError) -> String {
        func expect(_ holds: Bool, _ what: @autoclosure () -> String) throws(FleetError) {
            guard holds else {
                throw FleetError(
                    .verificationFailed, what(), hint: "the old configuration is put back; see etcd's log for the cause"
                )
            }
        }
        let revision = work.revision
        try expect(
            status.revision >= revision,
            "the revision is \(status.revision), the snapshot's is \(work.snapshot.newestRevision)"
                + (work.bump.map { ", bumped by \($0.amount)" } ?? ""))
        let keys = try client.keyCount(revision: revision)
        if let expected = work.snapshot.facts.liveKeys {
            try expect(keys == expected, "\(keys) keys are there at revision \(revision), the snapshot has \(expected)")
        }
        return "revision \(status.revision), \(keys) keys"
    }

    /// For the coordinator, which has those of all members, and takes all of them back for one that has none.
    func proof() throws(FleetError) -> MemberProof {
        let client = try client()
        // An election takes seconds. All go back meanwhile if another member has failed, and this one is to hear of it.
        return try Waiting.persistently(until: .now + .seconds(min(30, work.waitSeconds))) { () throws(FleetError) in
            try proof(client)
        }
    }

    private func proof(_ client: EtcdClient) throws(FleetError) -> MemberProof {
        let status = try client.status()
        guard status.leader != 0 else {
            throw FleetError(
                .unhealthy, "etcd at \(client.endpoint) has no leader", hint: "see etcd's log on all members",
                retryable: true)
        }
        // An undo has no snapshot to hash up to: what all have now is compared.
        let revision = work.undoes == nil ? work.revision : status.revision
        // Longer than a wait the coordinator has no patience either: a larger database needs a longer --wait.
        let patience = min(EtcdClient.hashDeadline(status.databaseSize), .seconds(max(10, work.waitSeconds)))
        // 0 would mean all that there is, and an empty etcd is at revision 1.
        let hash = try client.hashKV(revision: max(1, revision), deadline: patience)
        return MemberProof(
            memberID: hex(status.memberID), clusterID: hex(status.clusterID), leader: hex(status.leader),
            members: try client.members().map(\.id).sorted().map(hex), revision: revision, hashKV: hash.hash,
            compactRevision: hash.compactRevision)
    }

    private func hex(_ id: UInt64) -> String { String(id, radix: 16) }
}

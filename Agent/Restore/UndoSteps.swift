internal import FleetProtocol
internal import FleetSystem

/// The steps of an undo that differ from a restore's: there is no snapshot to compare with, and the old data knows its ids.
extension RestoreSteps {
    func checkUndo() throws(FleetError) -> String? {
        let certificates = try CertificateCheck.expiries(work.instance, now: .now())
        let client = try client()
        try checkJournalSpace()
        try checkHoldingDirectory()
        for directory in work.directories where try FileSystem.status(directory.new)?.kind != .directory {
            throw FleetError(
                .oldDataGone, "\(directory.new) is gone",
                hint: "there is nothing to go back to; restore a snapshot instead")
        }
        var notes = CertificateCheck.warnings(certificates, now: .now())
        do throws(FleetError) { try checkNobodyIsLeftOut(try client.members()) } catch {
            if error.code == .severalMembers { throw error }
            notes.append("etcd does not answer, so nothing tells whether members were added since the restore")
        }
        return notes.isEmpty ? nil : notes.joined(separator: "; ")
    }

    /// A member that was added since the restore would go on with the restored data.
    private func checkNobodyIsLeftOut(_ live: [EtcdClient.Member]) throws(FleetError) {
        let known = Set(work.group?.members.flatMap(\.peerURLs) ?? work.instance.peerURLs)
        let others = live.filter { !$0.peerURLs.contains(where: known.contains) }
        guard others.isEmpty else {
            throw RestorePlanner.leftOut(
                others.map { $0.name.isEmpty ? $0.peerURLs.joined(separator: ",") : $0.name }, "the running cluster")
        }
    }

    /// - Returns: for people.
    func verifyUndone(_ status: EtcdClient.Status, _ client: EtcdClient) throws(FleetError) -> String {
        if let floor = work.plan.liveRevision, status.revision < floor {
            throw FleetError(
                .verificationFailed,
                "the revision is \(status.revision), and it was \(floor) when the restore was begun",
                hint: "the restored configuration is put back; see what was done to \(work.plan.newDataDir)")
        }
        return "revision \(status.revision), \(try client.keyCount(revision: status.revision)) keys"
    }
}

import FleetConcerns
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl
@testable import FleetCoordinator

@Suite("Whether a cluster goes on from a snapshot") struct DataHistoryTests {
    private func at(_ hour: Int) -> Timestamp { Timestamp(milliseconds: Int64(hour) * 3_600_000) }

    /// - Parameter origin: the hour in which the snapshot that it put in force was saved.
    private func restore(_ job: String, _ snapshot: String, origin: Int?, ended: Int) -> DataHistory.Switch {
        .init(job: job, undoes: nil, snapshot: snapshot, origin: origin.map(at), finished: at(ended))
    }
    private func undo(_ restore: String, ended: Int) -> DataHistory.Switch {
        .init(job: "u-\(restore)", undoes: restore, snapshot: "s1", origin: at(1), finished: at(ended))
    }
    /// The job by which the history of the snapshot of that hour was left.
    private func left(_ hour: Int, _ switches: [DataHistory.Switch]) -> String? {
        DataHistory.departure(from: "s\(hour)", begun: at(hour), among: switches)?.job
    }

    @Test func behindARestore() {
        #expect(left(1, []) == nil)
        let newest = [restore("r", "s3", origin: 3, ended: 5)]
        #expect(left(3, newest) == nil, "it is what was restored")
        #expect(left(1, newest) == nil, "what was restored came of it")
        #expect(left(6, newest) == nil, "saved since")
        let older = [restore("r", "s1", origin: 1, ended: 5)]
        #expect(left(3, older) == "r" && left(1, older) == nil && left(6, older) == nil)
        let strange = [restore("r", "other", origin: nil, ended: 5)]
        #expect(left(3, strange) == "r" && left(6, strange) == nil)
    }

    @Test func behindAnUndo() {
        let undone = [restore("r", "s1", origin: 1, ended: 5), undo("r", ended: 8)]
        #expect(left(6, undone) == "u-r", "saved of what is in force no more")
        #expect(left(1, undone) == nil && left(3, undone) == nil, "as if there had been no restore")
        #expect(left(9, undone) == nil)
        // Two, the one on the other.
        let two = [
            restore("r", "s1", origin: 1, ended: 5), restore("q", "s6", origin: 6, ended: 10), undo("q", ended: 12),
        ]
        #expect(left(6, two) == nil && left(7, two) == nil && left(11, two) == "u-q" && left(3, two) == "r")
        let both = two + [undo("r", ended: 14)]
        #expect(left(3, both) == nil && left(6, both) == "u-r" && left(11, both) == "u-r" && left(13, both) == "u-r")
    }

    /// What was left may be restored all the same; then the other way is the one that was left.
    @Test func backOnAWayThatWasLeft() {
        let again = [
            restore("r", "s1", origin: 1, ended: 5), undo("r", ended: 8), restore("q", "s6", origin: 6, ended: 10),
        ]
        #expect(left(6, again) == nil && left(9, again) == "q" && left(3, again) == "r" && left(1, again) == nil)
    }

    private let left = Departure(job: "r2", snapshot: "s1", time: Timestamp("2026-11-24T06:00:00Z")!)
    private let undone = Departure(
        job: "u1", undoes: "r1", snapshot: "s1", time: Timestamp("2026-11-24T06:00:00Z")!)

    private func preview(_ departure: Departure?, controlPlanes: [String]? = nil, _ topology: Topology = .stacked)
        -> String
    {
        let cluster = ClusterRecord(
            name: "a", created: Timestamp(milliseconds: 0), identities: [], agents: 1, snapshots: 1,
            latestSnapshot: "s3", latestSavedAt: nil, lastJob: nil, lastJobKind: nil, lastJobState: nil)
        var agent = RestoreMembersTests.agent(1)
        agent.instance?.topology = topology
        var preview = RestorePreview(
            snapshot: SnapshotEntry(record: Fixture.record("s3")), cluster: cluster, agents: [agent])
        (preview.leftBy, preview.controlPlanes) = (departure, controlPlanes)
        return RestoreReport.lines(preview).joined(separator: "\n")
    }

    @Test func thePlanSaysFromWhatTheClusterWentOn() {
        #expect(!preview(nil).contains("CAUTION"))
        #expect(preview(left).contains("it was saved before restore r2, which put s1 in force (2026-11-24 06:00:00Z)"))
        let back = preview(undone)
        #expect(back.contains("CAUTION   it was saved between restore r1 and its undo u1 (2026-11-24 06:00:00Z)"))
        #expect(back.contains("all writes since then are lost to etcd"))
        #expect(back.contains("what of it the snapshot never had is"))
    }

    @Test func thePlanNamesControlPlanesElsewhere() {
        #expect(!preview(nil, controlPlanes: []).contains("kube-apiserver"))
        let external = preview(nil, controlPlanes: [], .externalSystemd)
        #expect(external.contains("stop the clients of this etcd first") && !external.contains("stop yourself"))
        #expect(
            preview(nil, controlPlanes: ["k1", "k2"], .externalSystemd).contains(
                "stop yourself, and start again behind it, the kube-apiserver on k1, k2"))
    }

    @Test func theStatusSaysSoUntilTheNextBackup() {
        var cluster = ClusterRecord(
            name: "a", created: Timestamp(milliseconds: 0), identities: [], agents: 1, snapshots: 1,
            latestSnapshot: "s3", latestSavedAt: Timestamp("2026-11-24T05:00:00Z")!, members: 1, lastJob: nil,
            lastJobKind: nil, lastJobState: nil)
        func told() -> [Concern] {
            let status = FleetStatus(
                version: "1", time: Timestamp("2026-11-24T07:00:00Z")!, clusters: [cluster],
                agents: [RestoreMembersTests.agent(1)], openJobs: [], storeFree: 1 << 40, storeUsed: 0,
                audit: AuditVerdict(events: 0, head: "00", firstBreak: nil, findings: []))
            return Concern.all(status).filter { $0.kind == .noBackupSince }
        }
        #expect(told().isEmpty)
        cluster.latestLeftBy = left
        #expect(told().map(\.key) == ["no-backup-since-restore|a||"])
        #expect(
            told().map(\.line) == [
                "a was restored to s1 (restore r2) at 2026-11-24 06:00:00Z, and no backup has been made since: the latest, s3, is "
                    + "of the data before that; run 'fleetctl backup a'"
            ])
        cluster.latestLeftBy = undone
        #expect(told().first?.text.hasPrefix("a was taken back to before restore r1 (undo u1) at") == true)
        #expect(Concern.Kind.noBackupSince.patience == .seconds(3600))
        cluster.latestSnapshot = nil
        #expect(told().isEmpty, "another line says that there is none")
    }
}

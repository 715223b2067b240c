import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

@Suite struct BackupWarningTests {
    private func saved(_ cluster: String, _ node: String, _ warnings: [String], version: String = "3.5.1")
        -> SnapshotRecord
    {
        SnapshotRecord(
            id: "id-\(cluster)", cluster: cluster, node: node, job: "j", storedAt: .now(), size: 1, sha256: "",
            facts: SnapshotFacts(
                status: SnapshotStatus(hash: 1, revision: 1, totalKey: 1, totalSize: 1), tool: "etcdctl",
                etcdVersion: version, clusterID: "1", memberID: "2", memberName: "m", size: 1, savedAt: .now(),
                certificates: [], warnings: warnings))
    }

    /// Twelve lines of each member at each backup are read by nobody.
    @Test func eachMatterIsToldOnce() {
        let known = ["etcd 3.5.1: a crash can make members differ (x)", "etcd 3.5.1: leases can be revoked (y)"]
        let lines = BackupWarnings.lines([
            saved("b", "n2", known + ["etcd's NOSPACE alarm is on: it takes no writes"]), saved("a", "n1", known),
            saved("c", "n3", ["etcd 3.6.0: one (z)"], version: "3.6.0"), saved("d", "n4", []),
        ])
        #expect(
            lines == [
                "warning: etcd's NOSPACE alarm is on: it takes no writes: b/n2",
                "etcd 3.5.1 has 2 known problems: a/n1, b/n2", "etcd 3.6.0 has a known problem: c/n3",
                "the whole of it: fleetctl snapshot show id-b",
            ], "\(lines)")
        #expect(BackupWarnings.lines([saved("d", "n4", [])]) == [])
        let many = BackupWarnings.lines((1...12).map { saved("c\($0)", "n", known) })
        #expect(many.count == 2 && many[0].hasSuffix(" and 2 more"), "\(many)")
    }
}

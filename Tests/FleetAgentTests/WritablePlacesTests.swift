import FleetSystem
import Testing

@testable import FleetAgent

@Suite struct WritablePlacesTests {
    private let there: Set = [
        "/", "/root", "/home", "/home/etcd", "/etc", "/var", "/var/lib", "/disk2", "/etc/systemd/system",
    ]

    /// What is missing is made, so the directory counts that it is made in.
    @Test(
        arguments: [
            (["/var/lib/etcd-restore-j1", "/etc/etcd.env"], nil),
            (["/etc/systemd/system/etcd.service.d/zz-fleet-agent.conf"], nil),
            (["/var/lib/etcd-restore-j1", "/disk2/wal/etcd-restore-j1"], "ReadWritePaths=/disk2"),
            (["/etcd-restore-j1"], "ProtectSystem=yes"), (["/somewhere/else/entirely"], "ProtectSystem=yes"),
            (["/root/etcd-restore-j1"], "ProtectHome=no"), (["/home/unseen/etcd-restore-j1"], "ProtectHome=no"),
            (["/home/etcd/data-restore-j1"], "ProtectHome=no"), (["/rooted/etcd-restore-j1"], "ProtectSystem=yes"),
        ] as [([String], String?)])
    func whereARestoreWouldWrite(_ paths: [String], _ setting: String?) {
        var error: FleetError?
        do throws(FleetError) {
            try WritablePlaces.check(
                paths, exists: there.contains, isWritable: { $0.hasPrefix("/etc") || $0.hasPrefix("/var") })
        } catch let thrown { error = thrown }
        #expect(error?.code == setting.map { _ in .notWritable })
        if let setting { #expect(error?.hint?.contains("[Service] and \(setting),") == true) }
    }

    @Test func whatTheKernelSays() {
        #expect(FileSystem.isWritable("/tmp"))
        #expect(!FileSystem.isWritable("/tmp/\(Randomness.token(12))"), "nothing is there")
    }
}

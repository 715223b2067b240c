import FleetProtocol
import FleetSystem
import RealEtcdProcess
import Testing

@testable import FleetAgent

/// When an etcd that does not answer is not waited for: only where nothing speaks for its coming.
@Suite struct EtcdAbsenceTests {
    private static let unit = instance(unit: "etcd.service")
    private static let pod = instance(manifest: "/etc/kubernetes/manifests/etcd.yaml")

    private static func instance(
        unit: String? = nil, manifest: String? = nil, endpoint: String = "http://127.0.0.1:1"
    ) -> EtcdInstance {
        EtcdInstance(
            topology: unit == nil ? .externalStaticPod : .externalSystemd, name: "m1", dataDir: "/var/lib/etcd",
            endpoint: endpoint, peerURLs: [], initialCluster: "", manifest: manifest, unit: unit, sources: [:])
    }

    private static func process(in group: String) -> EtcdProcess {
        EtcdProcess(
            pid: 7, startTime: 1, arguments: ["etcd"], environment: [:], controlGroups: [group], sharesNamespace: true)
    }

    /// A node on which etcd is stopped, and nothing will start it.
    private static let stopped = EtcdAbsence(
        processes: { () throws(FleetError) in [] }, isActive: { _ throws(FleetError) in false },
        kubeletRuns: { () throws(FleetError) in false }, isInPlace: { _ in true }, refuses: { _ in true })

    @Test func stopped() {
        #expect(Self.stopped.isCertain(of: Self.unit))
        #expect(Self.stopped.isCertain(of: Self.pod))
        var held = Self.stopped
        held.kubeletRuns = { () throws(FleetError) in true }
        held.isInPlace = { _ in false }
        #expect(held.isCertain(of: Self.pod), "its manifest is away")
        var others = Self.stopped
        others.processes = { () throws(FleetError) in [Self.process(in: "/system.slice/other.service")] }
        #expect(others.isCertain(of: Self.unit), "another's process")
    }

    @Test func mayComeYet() {
        var node = Self.stopped
        node.processes = { () throws(FleetError) in [Self.process(in: "/system.slice/etcd.service")] }
        #expect(!node.isCertain(of: Self.unit), "just started: it refuses for seconds")
        #expect(!node.isCertain(of: Self.pod))
        node = Self.stopped
        node.isActive = { _ throws(FleetError) in true }
        #expect(!node.isCertain(of: Self.unit), "systemd starts it, or will again")
        node = Self.stopped
        node.kubeletRuns = { () throws(FleetError) in true }
        #expect(!node.isCertain(of: Self.pod), "the kubelet starts it again")
    }

    @Test func whatCantBeSeenIsWaitedFor() {
        var node = Self.stopped
        node.refuses = { _ in false }
        #expect(!node.isCertain(of: Self.unit), "somebody listens there")
        node = Self.stopped
        node.isActive = { _ throws(FleetError) in throw FleetError(.notFound, "no systemctl") }
        #expect(!node.isCertain(of: Self.unit))
        #expect(!Self.stopped.isCertain(of: Self.instance()), "neither a unit nor a manifest")
    }

    /// The real port: a refusal is none where somebody listens, and none where the host is not to be found.
    @Test(.enabled(if: RealEtcd.isInstalled)) func refusals() throws {
        let etcd = try RealEtcd()
        let refuses = EtcdAbsence().refuses
        #expect(!refuses(etcd.client))
        #expect(refuses("http://127.0.0.1:1"))
        #expect(refuses("https://127.0.0.1:1/"))
        #expect(!refuses("https://nowhere.invalid:2379"))
        #expect(!refuses("unix://localhost:2379"))
    }

    /// etcdctl itself takes ten seconds to say so.
    @Test(.enabled(if: RealEtcd.isInstalled)) func isAnsweredAtOnce() throws {
        var client = EtcdClient(tool: try RealEtcd.tools().client(for: nil), instance: Self.unit)
        client.absence = Self.stopped
        let clock = ContinuousClock()
        let began = clock.now
        for asksStatus in [false, true] {
            do throws(FleetError) {
                if asksStatus { _ = try client.status() } else { try client.checkHealth() }
                Issue.record("nobody is there")
            } catch {
                #expect(error.code == .unhealthy && error.message == "etcd does not run on this node")
            }
        }
        let took = clock.now - began
        #expect(took < .seconds(3), "\(took)")
    }
}

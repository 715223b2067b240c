import FleetProtocol
import FleetSQLite
import FleetSystem
import Testing

@testable import FleetCoordinator

/// A directory of one test's own, gone when the test is.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/fleet-coordinator-test-\(Randomness.token(10))"
        try FileSystem.makeDirectories(path)
    }
    deinit { try? FileSystem.removeTree(path) }
}

/// A clock that tests move by hand.
final class TestClock: Sendable {
    private let time = Monitor(Timestamp("2026-11-24T06:55:10.123Z")!)
    var now: Timestamp { time.withLock { $0 } }
    func advance(_ duration: Duration) { time.withLock { $0 = $0.adding(duration) } }
}

enum Fixture {
    static func catalogue(_ clock: TestClock = TestClock(), path: String? = nil) throws -> Catalogue {
        try Catalogue(path.map { .file($0) } ?? .memory, clock: { clock.now })
    }

    /// A catalogue with clusters a and b, each with an enrolled node n1 that has registered.
    static func fleet(_ clock: TestClock = TestClock(), path: String? = nil) async throws -> Catalogue {
        let catalogue = try catalogue(clock, path: path)
        for cluster in ["a", "b"] {
            _ = try await catalogue.addCluster(cluster, by: "root")
            try await enrol(catalogue, cluster: cluster, node: "n1")
            _ = try await catalogue.registered(
                NodeName(cluster: cluster, node: "n1"), registration(), hasJustConnected: true)
        }
        return catalogue
    }

    static func enrol(
        _ catalogue: Catalogue, cluster: String, node: String, issued: Timestamp = Timestamp("2026-11-24T06:00:00Z")!
    ) async throws {
        let secret = Randomness.token(20)
        _ = try await catalogue.createToken(
            secret: secret, role: .agent, cluster: cluster, lifetime: .seconds(3600), by: "root")
        _ = try await catalogue.enrol(secret: secret, name: node, from: "192.0.2.1") { _ throws(FleetError) in
            (certificate(issued), "pem")
        }
    }

    static func certificate(_ issued: Timestamp = Timestamp("2026-11-24T06:00:00Z")!) -> CertificateRecord {
        CertificateRecord(
            fingerprint: Randomness.token(32), serial: Randomness.token(8),
            issued: issued, notAfter: Timestamp("2027-11-24T06:00:00Z")!)
    }

    static func registration(active: [String] = [], counter: UInt64 = 0, version: String = "3.5.1") -> RegisterRequest {
        RegisterRequest(
            agentVersion: "1", instance: instance(version), discoveryError: nil, activeJobs: active,
            lastCounter: counter)
    }

    static func instance(_ version: String = "3.5.1", members: Int = 1) -> EtcdInstance {
        EtcdInstance(
            topology: .externalSystemd, name: "n1", dataDir: "/var/lib/etcd", endpoint: "https://127.0.0.1:2379",
            peerURLs: ["https://10.0.0.1:2380"],
            initialCluster: (1...members).map { "n\($0)=https://10.0.0.\($0):2380" }.joined(separator: ","),
            version: version, pid: 7, sources: [:])
    }

    static func record(
        _ id: String, cluster: String = "a", job: String = "j", saved: String = "2026-11-24T06:55:00Z",
        etcdID: String = "cafe", version: String = "3.5.1", size: Int64 = 544, sha256: String = "00"
    ) -> SnapshotRecord {
        SnapshotRecord(
            id: id, cluster: cluster, node: "n1", job: job, storedAt: Timestamp(saved)!, size: size, sha256: sha256,
            facts: facts(saved: saved, etcdID: etcdID, version: version, size: size))
    }

    static func facts(
        saved: String = "2026-11-24T06:55:00Z", etcdID: String = "cafe", version: String = "3.5.1", size: Int64 = 544
    ) -> SnapshotFacts {
        SnapshotFacts(
            status: SnapshotStatus(hash: 1, revision: 42, totalKey: 7, totalSize: size - 32), tool: "etcdctl 3.5.1",
            etcdVersion: version, clusterID: etcdID, memberID: "beef", memberName: "n1", size: size,
            savedAt: Timestamp(saved)!, certificates: [], warnings: [])
    }
}

/// The code of the error that `body` throws; nil where it throws none.
func code(_ body: () async throws -> Void) async -> FleetError.Code? {
    do { try await body() } catch { return FleetError(error).code }
    return nil
}

extension Catalogue {
    /// A token for an operator, who is made known if they are not.
    func operatorToken(
        _ name: String, secret: String, _ access: OperatorAccess = OperatorAccess(role: .admin)
    ) throws {
        if try !operators().contains(where: { $0.name == name }) { _ = try addOperator(name, access, by: "test") }
        _ = try createToken(secret: secret, role: .operator, name: name, lifetime: .seconds(60), by: "test")
    }
}

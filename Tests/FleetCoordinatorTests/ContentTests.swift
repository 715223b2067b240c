import EtcdSampleFiles
import FleetCommandLine
import FleetControl
import FleetProtocol
import FleetReactor
import FleetRepository
import FleetSystem
import Testing

@testable import EtcdSnapshot
@testable import FleetCoordinator

/// What is in a stored snapshot, as operators see it.
@Suite("Content of snapshots", .timeLimit(.minutes(5)))
struct ContentTests {
    private let server: TestServer
    private var vault: Vault { server.server.vault }

    init() async throws {
        server = try await TestServer()
        var before = SampleEtcd.rich()
        try store("20261124-065510-aaaa", before)
        before.delete("/registry/pods/ns-2/pod-5")
        before.put("/registry/pods/ns-2/pod-8", Array("new".utf8))
        before.put("/registry/secrets/ns-1/big", Array("hunter2".utf8))
        before.put("/registry/configmaps/ns-1/\u{1b}[31mred", Array("plain text\n".utf8))
        try store("20261124-075510-bbbb", before)
        _ = try await vault.reconcile()
    }

    private func store(_ id: String, _ etcd: SampleEtcd) throws {
        try vault.store.store(try SampleSnapshot(etcd: id, etcd, job: "j"))
    }

    private func reader(_ id: String) throws -> SnapshotReader { try SnapshotReader(try vault.store.open(id).pages) }

    private func look(_ id: String) async throws -> SnapshotLook {
        try await SnapshotLook(try await server.catalogue.snapshot(id), vault)
    }

    /// Whatever fits in memory at once, the listing is the same.
    @Test(arguments: [1, 400, 1000, 1 << 20], ["", "/registry/pods/", "/registry/pods/ns-1", "/nothing"])
    func aListingIsSortedAndWhole(_ budget: Int, _ prefix: String) async throws {
        let look = try await look("20261124-075510-bbbb")
        var keys: [KeyRecord] = []
        try await ContentListing.keys(look, prefix: Array(prefix.utf8), budget: budget) { keys += $0 }
        let expected = try reader("20261124-075510-bbbb").liveKeys(prefix: Array(prefix.utf8))
        #expect(keys == expected.map { KeyRecord($0) })
        #expect(keys.count == (prefix.isEmpty ? 25 : expected.count))
    }

    @Test(arguments: [1, 500, 1 << 20])
    func aComparisonIsSortedAndWhole(_ budget: Int) async throws {
        let (old, new) = (try await look("20261124-065510-aaaa"), try await look("20261124-075510-bbbb"))
        var (totals, groups, keys): (DiffTotals?, [DiffGroup], [DiffKey]) = (nil, [], [])
        try await ContentListing.differences(old, new, prefix: [], wantsKeys: true, budget: budget) { part in
            totals = totals ?? part.totals
            groups += part.groups ?? []
            keys += part.keys ?? []
        }
        #expect(totals?.counts == DiffCounts(added: 1, changed: 2, removed: 1))
        #expect(totals?.unchanged == 22)
        #expect(groups.map(\.kind) == ["configmaps", "pods", "secrets"])
        #expect(
            keys.map { "\($0.change) \($0.key.key)" } == [
                "added /registry/configmaps/ns-1/\u{1b}[31mred", "removed /registry/pods/ns-2/pod-5",
                "changed /registry/pods/ns-2/pod-8", "changed /registry/secrets/ns-1/big",
            ])
    }

    @Test(arguments: [
        ("/registry/secrets/ns/name", true), ("/kubernetes.io/secrets/ns/name", true),
        ("/clusters/a/registry/secrets/ns/name", true), ("/registry/example.com/secrets/ns/name", true),
        ("registry/secrets/x", true), ("/registry/pods/ns/secrets", false), ("/registry/secretsstores/ns/x", false),
        ("/registry/configmaps/ns/name", false), ("secrets", false), ("", false),
    ])
    func whatMayBeASecretIsKnownByItsKey(_ key: String, _ isSecret: Bool) {
        #expect(KubernetesName.isSecret(key: Array(key.utf8)) == isSecret)
    }

    /// A key may be as long as a request to etcd; a message may not.
    @Test func aKeyOfAnyLengthIsListed() async throws {
        var etcd = SampleEtcd()
        let long = String(repeating: "\u{1}", count: 300_000)
        etcd.put(long, [1])
        etcd.put("/registry/pods/a/b", [1])
        try store("20261124-085510-cccc", etcd)
        _ = try await vault.reconcile()
        let list = try await fleetctl("ls", "20261124-0855", "-o", "json")
        let keys = try JSON.decode([KeyRecord].self, from: list.out)
        #expect(keys.map(\.isCut) == [true, nil])
        #expect(keys[0].key.utf8.count == KeyRecord.keyLimit && keys[1].key == "/registry/pods/a/b")
        let table = try await fleetctl("diff", "20261124-0755", "20261124-0855", "--prefix", "\u{1}")
        #expect(table.status == .success && table.text.contains("it is longer"))
        await server.stop()
    }

    @Test func everyValueThatIsShownIsOnRecord() async throws {
        let connection = try await server.operate()
        func cat(_ key: String, _ showSecrets: Bool = false) async throws -> [UInt8] {
            let request = ValueRequest(snapshot: "20261124-0755", key: key, showSecrets: showSecrets)
            let stream = try await connection.open(ControlMethod.showValue, try JSON.encode(request), ends: true)
            var value: [UInt8] = []
            while true {
                switch try await stream.receive() {
                case .data(let bytes): value += bytes
                case .end: return value
                case .message: Issue.record("a message")
                }
            }
        }
        let secret = "/registry/secrets/ns-1/big"
        #expect(await code { _ = try await cat(secret) } == .secretValue)
        #expect(try await cat(secret, true) == Array("hunter2".utf8))
        #expect(try await cat("/registry/pods/ns-2/pod-8") == Array("new".utf8))
        #expect(await code { _ = try await cat("/registry/pods/ns-2/pod-5") } == .noSuchKey)
        let events = try await server.events(ControlMethod.showValue)
        #expect(events.map(\.outcome) == [.refused, .ok, .ok, .refused])
        #expect(events.map { $0.detail["key"] }.prefix(2) == [secret, secret])
        #expect(events[1].detail["secret"] == "true" && events[1].subject == "20261124-075510-bbbb")
        #expect(events[1].actor == events[2].actor && events[2].detail["secret"] == nil)
        #expect(!(try JSON.text(events)).contains("hunter2"))
        await server.stop()
    }

    // MARK: as it is typed

    private func fleetctl(_ words: String..., terminal isTerminal: Bool = false) async throws -> (
        status: FleetCommandLine.ExitStatus, out: [UInt8], text: String, err: String
    ) {
        let printed = Monitor<(out: [UInt8], err: [UInt8])>(([], []))
        let collect: @Sendable (Int32, [UInt8]) -> Void = { descriptor, bytes in
            printed.withLock { if descriptor == 1 { $0.out += bytes } else { $0.err += bytes } }
        }
        let terminal = Terminal(
            outputIsTerminal: isTerminal, errorIsTerminal: false, color: false, columns: 100, writeBytes: collect,
            write: { collect($0, Array($1.utf8)) })
        let status = await Program.run(
            ["snapshot"] + words + ["--server", server.socket], Fleetctl.command, version: "test", terminal: terminal)
        let (out, err) = printed.withLock { ($0.out, $0.err) }
        return (status, out, String(decoding: out, as: UTF8.self), String(decoding: err, as: UTF8.self))
    }

    @Test func theCommands() async throws {
        let list = try await fleetctl("ls", "20261124-0755", "--prefix", "/registry/secrets/")
        #expect(list.status == .success)
        #expect(
            list.text == """
                    MODIFIED  VERSION      SIZE  LEASE             KEY
                          36        2         7  -                 /registry/secrets/ns-1/big

                """)
        #expect(list.err.contains("1 keys in 20261124-075510-bbbb"))
        let json = try await fleetctl("ls", "20261124-0755", "-o", "json")
        #expect(try JSON.decode([KeyRecord].self, from: json.out).count == 25)
        let none = try await fleetctl("ls", "20261124-0755", "--prefix", "/x", "-o", "json")
        #expect(none.text == "[]\n")

        let diff = try await fleetctl("diff", "20261124-0655", "20261124-0755")
        #expect(diff.status == .success)
        // Nobody's key steers the terminal.
        #expect(
            diff.text.hasSuffix(
                "\n\n+ /registry/configmaps/ns-1/ [31mred\n- /registry/pods/ns-2/pod-5\n"
                    + "~ /registry/pods/ns-2/pod-8\n~ /registry/secrets/ns-1/big\n"))
        #expect(diff.text.contains("(all)       -              1        2        1\n22 keys are the same\n"))
        #expect(!diff.text.contains("hunter2") && !diff.text.contains("\u{1b}"))
        struct Diff: Decodable { var from: String, unchanged: Int, groups: [DiffGroup], keys: [DiffKey]? }
        let object = try JSON.decode(
            Diff.self, from: try await fleetctl("diff", "20261124-0655", "20261124-0755", "-o", "json").out)
        #expect(object.keys?.count == 4 && object.groups.count == 3 && object.unchanged == 22)
        let summary = try JSON.decode(
            Diff.self,
            from: try await fleetctl("diff", "20261124-0655", "20261124-0755", "-o", "json", "--summary").out)
        #expect(summary.keys == nil && summary.from == "20261124-065510-aaaa")
        #expect(
            try await fleetctl("diff", "20261124-0655", "20261124-0655").text == "no key differs; 25 are the same\n")

        let secret = "/registry/secrets/ns-1/big"
        let refused = try await fleetctl("cat", "20261124-0755", secret)
        #expect(refused.status == .failure && refused.out.isEmpty && refused.err.contains("--show-secrets"))
        #expect(try await fleetctl("cat", "20261124-0755", secret, "--show-secrets").out == Array("hunter2".utf8))
        let pod = "/registry/pods/ns-0/pod-0"
        #expect(try await fleetctl("cat", "20261124-0755", pod).out == [UInt8](repeating: 0, count: 20))
        let binary = try await fleetctl("cat", "20261124-0755", pod, terminal: true)
        #expect(binary.status == .usage && binary.out.isEmpty && binary.err.contains("--raw"))
        let text = try await fleetctl(
            "cat", "20261124-0755", "/registry/configmaps/ns-1/\u{1b}[31mred", terminal: true)
        #expect(text.text.hasPrefix("plain text\n"))
        await server.stop()
    }
}

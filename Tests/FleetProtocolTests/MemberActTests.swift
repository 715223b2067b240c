import FleetProtocol
import FleetSystem
import Testing

/// Golden bytes of the acts of a replacement: README.md's examples. Agents in the field obey exactly these.
@Suite struct MemberActTests {
    static let golden: [(Operation.Act, String)] = [
        (.look, #"{"look":{}}"#),
        (
            .plan(
                .init(
                    initialCluster: "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380", databaseSize: 4096,
                    etcdVersion: "3.5.1", member: "8e9e05c52164694d"), dryRun: false),
            #"{"plan":{"_0":{"databaseSize":4096,"etcdVersion":"3.5.1","initialCluster":"a=https://10.0.0.1:2380,b=https://10.0.0.2:2380","member":"8e9e05c52164694d"},"dryRun":false}}"#
        ),
        (.stop, #"{"stop":{}}"#), (.back, #"{"back":{}}"#),
        (
            .readmit(member: "8e9e05c52164694d", name: "b", peerURLs: ["https://10.0.0.2:2380"]),
            #"{"readmit":{"member":"8e9e05c52164694d","name":"b","peerURLs":["https://10.0.0.2:2380"]}}"#
        ),
        (
            .readmit(member: nil, name: "b", peerURLs: ["https://10.0.0.2:2380"]),
            #"{"readmit":{"name":"b","peerURLs":["https://10.0.0.2:2380"]}}"#
        ),
        (.join(member: "f0"), #"{"join":{"member":"f0"}}"#), (.promote(member: "f0"), #"{"promote":{"member":"f0"}}"#),
        (.prove(revision: 42), #"{"prove":{"revision":42}}"#),
    ]

    @Test(arguments: golden) func anActsBytes(_ act: Operation.Act, _ json: String) throws {
        let operation = Operation.member(.init(replacement: "r1", act: act, waitSeconds: 60))
        let whole = #"{"member":{"_0":{"act":\#(json),"replacement":"r1","waitSeconds":60}}}"#
        #expect(try JSON.text(operation) == whole)
        #expect(try JSON.decode(Operation.self, from: whole.utf8) == operation)
        guard case .member(let member) = operation else { return }
        #expect(member.isValid)
    }

    private static func plan(_ cluster: String, size: Int64 = 1, member: String? = nil) -> Operation.Act {
        .plan(
            .init(initialCluster: cluster, databaseSize: size, etcdVersion: "3.5.1", member: member), dryRun: true)
    }

    /// What a signed job says becomes words of etcdctl and of etcd's configuration.
    @Test(arguments: [
        plan("a=http://x:1"), plan("a=http://x:1,b"), plan("a=http://x:1,b=http://y\n:1"),
        plan("a=http://x:1,-b=http://y:1"), plan("a=http://x:1,b=http://y:1", size: -1),
        plan("a=http://x:1,b=http://y:1", member: "0x1"), .readmit(member: "", name: "b", peerURLs: ["http://x:1"]),
        .readmit(member: nil, name: "--force", peerURLs: ["http://x:1"]),
        .readmit(member: nil, name: "b", peerURLs: []),
        .readmit(member: nil, name: "b", peerURLs: ["http://x:1,http://y:1"]),
        .readmit(member: nil, name: "b=c", peerURLs: ["http://x:1"]), .join(member: "F0"), .promote(member: "zz"),
        .prove(revision: 0),
    ])
    func whatIsOutOfBoundsIsRefused(_ act: Operation.Act) {
        #expect(!Operation.Member(replacement: "r1", act: act, waitSeconds: 60).isValid)
    }

    @Test func waitsAndNamesAreBounded() {
        #expect(!Operation.Member(replacement: "r1", act: .look, waitSeconds: 1).isValid)
        #expect(!Operation.Member(replacement: "../r", act: .look, waitSeconds: 60).isValid)
    }
}

import FleetReactor
import FleetSystem
import Testing

@testable import FleetAgent

/// Which processes are taken for an etcd.
@Suite(.timeLimit(.minutes(2))) struct EtcdProcessTests {
    /// The agent asks etcd's program for its version itself; a look at the process table at that moment saw an etcd that nobody
    /// had started.
    @Test(arguments: [([], true), (["--version"], false), (["-h"], false)] as [([String], Bool)])
    func whoOnlyTellsItsVersionIsNone(_ flags: [String], _ isEtcd: Bool) async throws {
        let marker = "--marker-\(Timestamp.now().milliseconds)-\(flags.joined())"
        let handle = Subprocess.Handle()
        let program = "exec -a etcd python3 -c 'import time; time.sleep(60)' \"$@\""
        async let ended = Blocking.run {
            try Subprocess.run(
                "/bin/bash", ["-c", program, "bash", marker] + flags, deadline: .seconds(60), handle: handle)
        }
        defer { handle.stop() }
        func isThere() throws -> Bool {
            try ProcessTable.all().contains { $0.arguments.first == "etcd" && $0.arguments.contains(marker) }
        }
        for _ in 0..<400 where try !isThere() { try await Task.sleep(for: .milliseconds(50)) }
        try #require(try isThere())
        #expect(try ProcessTable.etcds().contains { $0.arguments.contains(marker) } == isEtcd)
        handle.stop()
        _ = try await ended
    }
}

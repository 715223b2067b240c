import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

@Suite struct OutboxTests {
    @Test func eventsOutliveTheAgent() async throws {
        let tree = try NodeTree()
        let paths = AgentPaths(state: tree.root)
        do {
            let outbox = Outbox(paths: paths)
            try await outbox.post("j1", .accepted)
            try await outbox.post("j1", .note, detail: "a")
            try await outbox.acknowledge("j1", 1)
        }
        let outbox = Outbox(paths: paths)
        try await outbox.load()
        let event = await outbox.nextUnacknowledged()
        #expect(event?.sequence == 2 && event?.detail == "a")
        try await outbox.post("j1", .note, detail: "b")
        try await outbox.acknowledge("j1", 2)
        #expect(await outbox.nextUnacknowledged()?.sequence == 3)
    }

    /// Whatever a tool says and however long a file is, an event fits into a frame: one that did not would block all.
    @Test func anEventAlwaysFits() async throws {
        let tree = try NodeTree()
        let paths = AgentPaths(state: tree.root)
        let outbox = Outbox(paths: paths)
        let long = String(repeating: "\u{7}é", count: 200_000)
        let error = FleetError(.childFailed, long, hint: long)
        let lines = (0..<20_000).map { "line \($0)\n" }
        let change = RestorePlan.FileChange(
            path: "/f", before: lines.joined(),
            after: lines.map { $0 == "line 9000\n" ? "changed\n" : $0 }.joined())
        let plan = RestorePlan(
            cluster: "c", node: "n", snapshot: "s", topology: .stacked, oldDataDir: "/o", newDataDir: "/n",
            oldWalDir: nil,
            newWalDir: nil, clusterToken: "t", changes: [change],
            steps: [.init(name: "x", description: long, phase: .stop)])
        var ended = JobOutcome(result: .failed, error: error, summary: long, plan: plan)
        ended.unhealthy = long
        try await outbox.post("j1", .note, step: long, detail: long, error: error)
        try await outbox.post(
            "j1", .outcome, error: error, outcome: ended)
        for _ in 0..<2 {
            let event = try #require(await outbox.nextUnacknowledged())
            #expect(try JSON.encode(event).count < 200_000)
            #expect(event.error?.code == .childFailed)
            #expect(event.error?.hint?.isEmpty == false)
            if let unhealthy = event.outcome?.unhealthy { #expect(unhealthy.utf8.count < 5000) }
            if let steps = event.outcome?.plan?.steps { #expect(steps.map(\.phase) == [.stop]) }
            if let told = event.outcome?.plan?.changes.first {
                // The lines that change, and those around them, are what people look at.
                #expect(told.after.contains("line 8999\nchanged\nline 9001\n"))
                #expect(told.before?.contains("line 9000\n") == true)
            } else {
                #expect(event.kind == .note)
            }
            try await outbox.acknowledge("j1", event.sequence)
        }
        let outcome = try Subprocess.run("/bin/sh", ["-c", "head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2"])
        #expect(outcome.complaint.utf8.count <= 4 << 10 && outcome.complaint.hasSuffix("end"))
    }
}

import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

/// Policies as people write them in a file.
struct PolicyFileTests {
    private func read(_ text: String) throws -> [FleetPolicy] {
        try PolicyFile.read(Array(text.utf8), file: "p.yaml")
    }

    @Test func allOfIt() throws {
        let policies = try read(
            """
            policies:
              - name: production
                labels: {env: production, region: "eu"}
                schedule: "30 */4 * * *"
                timezone: Europe/Berlin
                jitter: 10m
                windows: ["mon-fri 20:00-06:00", "sat,sun 00:00-24:00"]
                attempts: 5
                parallel: 2
                bandwidth: 20MB
                objective: 1d6h
                retention: {last: 6, daily: 14}
                drill: "0 5 * * sun"
              - name: rest
                clusters: [a]
            """)
        var expected = FleetPolicy(name: "production")
        expected.labels = ["env": "production", "region": "eu"]
        expected.schedule = "30 */4 * * *"
        expected.timezone = "Europe/Berlin"
        expected.jitter = 600
        expected.windows = ["mon-fri 20:00-06:00", "sat,sun 00:00-24:00"]
        expected.attempts = 5
        expected.parallel = 2
        expected.bandwidth = 20_000_000
        expected.objective = 108_000
        expected.retention = RetentionPolicy(last: 6, daily: 14)
        expected.drill = "0 5 * * sun"
        var rest = FleetPolicy(name: "rest")
        rest.clusters = ["a"]
        #expect(policies == [expected, rest])
        #expect(try read("policies: []").isEmpty)
    }

    @Test(arguments: [
        ("", ""), ("policies:", "1"), ("policies: ~", "1"), ("- a", "1"), ("policies: []\nother: 1", "2"),
        ("policies:\n  - schedule: x", "2"),
        ("policies:\n  - name: a\n    shedule: x", "3"), ("policies:\n  - name: a\n    jitter: soon", "3"),
        ("policies:\n  - name: a\n    attempts: many", "3"), ("policies:\n  - name: a\n    windows: always", "3"),
        ("policies:\n  - name: a\n    labels: [x]", "3"), ("policies:\n  - name: a\n    labels: {}", "2"),
        ("policies:\n  - name: a\n    clusters: []", "2"), ("policies:\n  - name: a\n    retention: {lots: 1}", "3"),
        ("policies:\n  - name: a\n    labels:", "3"), ("policies:\n  - name: a\n    clusters: ~", "3"),
        ("policies:\n  - name: a\n    name: b", "3"), ("policies:\n  - a", "2"),
    ])
    func whatIsWrongIsNamedWithItsLine(_ text: String, _ line: String) {
        let error = #expect(throws: FleetError.self) { try read(text) }
        #expect(error?.hint != nil)
        let message = error?.message ?? ""
        #expect(line.isEmpty || message.contains("p.yaml:\(line)") || message.contains("line \(line)"), "\(message)")
    }
}

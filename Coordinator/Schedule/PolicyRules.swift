import FleetProtocol
import FleetSchedule
import FleetSystem

/// A policy that was looked at: its schedules, zone and windows as the planner reads them.
struct PolicyRules: Sendable {
    var backup: TaskRules?
    var drill: TaskRules?

    /// - Throws: `usage` naming the policy and what is wrong in it.
    init(_ policy: FleetPolicy) throws(FleetError) {
        do throws(FleetError) {
            try Self.check(policy)
            let zone = try TimeZoneRules(policy.timezone)
            let windows = try policy.windows.map { text throws(FleetError) in try Window(text) }
            func rules(_ schedule: String?) throws(FleetError) -> TaskRules? {
                guard let schedule else { return nil }
                return TaskRules(
                    schedule: try Schedule(schedule), zone: zone, jitter: .seconds(policy.jitter), windows: windows,
                    attempts: policy.attempts, parallel: policy.parallel, policy: policy.name)
            }
            backup = try rules(policy.schedule)
            drill = try rules(policy.drill)
        } catch { throw error.during("policy \(Names.quote(policy.name))") }
    }

    private static func check(_ policy: FleetPolicy) throws(FleetError) {
        try Names.check(policy.name, "policy")
        for cluster in policy.clusters { try Names.check(cluster, "cluster") }
        try Labels.check(policy.labels)
        func range(_ what: String, _ value: Int, _ range: ClosedRange<Int>) throws(FleetError) {
            guard range.contains(value) else {
                throw FleetError(
                    .usage, "\(what) is \(value)", hint: "give \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try range("jitter in seconds", policy.jitter, 0...86_400)
        try range("the number of attempts", policy.attempts, 1...10)
        try range("the number of clusters at once", policy.parallel, 1...1000)
        if let bandwidth = policy.bandwidth {
            // Slower, and a piece would take longer than an agent waits for a sign that it arrived.
            try range("the bandwidth in bytes a second", bandwidth, 100_000...1 << 40)
        }
        if let objective = policy.objective { try range("the objective in seconds", objective, 60...366 * 86_400) }
        guard policy.windows.count <= 20 else {
            throw FleetError(.usage, "it has \(policy.windows.count) windows", hint: "give 20 at most")
        }
        if let retention = policy.retention { try Catalogue.check(retention) }
    }
}

/// What people group clusters by.
enum Labels {
    /// - Throws: `usage`.
    static func check(_ labels: [String: String]) throws(FleetError) {
        guard labels.count <= 32 else {
            throw FleetError(.usage, "\(labels.count) labels are too many", hint: "give 32 at most")
        }
        for (key, value) in labels {
            guard isWord(key), isWord(value) else {
                throw FleetError(
                    .usage, "\(Names.quote("\(key)=\(value)")) is no label",
                    hint: "a key and a value of 1 to 63 letters, digits, '-', '_', '.' and '/', as in env=production")
            }
        }
    }

    private static func isWord(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (byte | 32) >= UInt8(ascii: "a") && (byte | 32) <= UInt8(ascii: "z")
                    || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") || "-_./".utf8.contains(byte)
            }
    }
}

import FleetSystem

/// How many refusals of strangers are written to the audit log. Whoever reaches the port can cause them, so without a
/// bound they could fill the disk; with one they are counted, and the next event that is written tells how many were
/// not. Pure.
struct RefusalBudget: Sendable {
    static let perMinute = 20

    private var minute: Int64 = .min
    private var written = 0
    private var left = 0

    /// How many were left out since the last that was written; nil where this one is left out too.
    mutating func admit(at now: Timestamp) -> Int? {
        let current = now.milliseconds / 60_000
        if current != minute { (minute, written) = (current, 0) }
        guard written < Self.perMinute else {
            left += 1
            return nil
        }
        written += 1
        defer { left = 0 }
        return left
    }
}

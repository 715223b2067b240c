import FleetProtocol
import FleetSystem

/// For each key one at a time, and one that waits: the latest. Who asks again and again takes one place of those that may
/// block, and whoever of them is still connected, which is the last one, comes next.
actor LatestTurns {
    private struct Line {
        /// Told true when it is its turn, false when a later one has come.
        var waiting: CheckedContinuation<Bool, Never>?
    }
    /// By key, while somebody has the turn.
    private var lines: [String: Line] = [:]

    /// - Throws: `busy` where a later one took its place in the line, and what `body` throws.
    nonisolated func take<Value: Sendable>(
        _ key: String, _ body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        guard await enter(key) else {
            throw FleetError(
                .busy, "\(key) has begun another meanwhile", hint: "let one at a time begin", retryable: true)
        }
        let result: Result<Value, FleetError>
        do throws(FleetError) { result = .success(try await body()) } catch { result = .failure(error) }
        await leave(key)
        return try result.get()
    }

    private func enter(_ key: String) async -> Bool {
        guard let line = lines[key] else {
            lines[key] = Line()
            return true
        }
        line.waiting?.resume(returning: false)
        return await withCheckedContinuation { lines[key]?.waiting = $0 }
    }

    private func leave(_ key: String) {
        guard let next = lines[key]?.waiting else {
            lines[key] = nil
            return
        }
        lines[key] = Line()
        next.resume(returning: true)
    }
}

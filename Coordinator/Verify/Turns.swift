import FleetSystem

/// So many at a time; the others wait in the order in which they came. Reading a snapshot whole takes tens of megabytes
/// and a processor, and the coordinator promises to stay small however many backups end at once.
actor Turns {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var head = 0

    init(_ count: Int) { free = count }

    /// `body` on a thread that may wait, when it is its turn.
    nonisolated func take<Value: Sendable>(
        _ body: @escaping @Sendable () throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        await enter()
        let result: Result<Value, FleetError>
        do throws(FleetError) { result = .success(try await blocking(body)) } catch { result = .failure(error) }
        await leave()
        return try result.get()
    }

    /// The same for what waits without a thread.
    nonisolated func holding<Value: Sendable>(
        _ body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        await enter()
        let result: Result<Value, FleetError>
        do throws(FleetError) { result = .success(try await body()) } catch { result = .failure(error) }
        await leave()
        return try result.get()
    }

    private func enter() async {
        if free > 0 {
            free -= 1
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func leave() {
        guard head < waiting.count else {
            (waiting, head) = ([], 0)
            free += 1
            return
        }
        head += 1
        waiting[head - 1].resume()
    }
}

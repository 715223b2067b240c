internal import FleetProtocol
internal import FleetSystem

/// The steps of a job, each told of before it begins and when it has ended.
struct JobSteps: Sendable {
    let job: String
    let outbox: Outbox
    let faults: FaultInjection

    /// - Parameter detail: what people should know of it when it is done.
    func step<Value: Sendable>(
        _ name: String, detail: (Value) -> String? = { _ in nil }, _ body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        try await outbox.post(job, .stepStarted, step: name)
        do throws(FleetError) {
            await faults.passing(name, .before)
            let value = try await body()
            await faults.passing(name, .after)
            try await outbox.post(job, .stepDone, step: name, detail: detail(value))
            return value
        } catch {
            try? await outbox.post(job, .stepFailed, step: name, error: error)
            throw error
        }
    }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Follows a job to its end.
enum JobWatch {
    /// Calls `each` for every event, those of the past included, and returns the job as it ended. A lost connection is
    /// taken up again: the job goes on without us.
    static func follow(
        _ id: String, _ control: Control, each: (JobEvent) -> Void
    ) async throws(FleetError) -> JobRecord {
        var seen = 0
        var failures = 0
        while true {
            do throws(FleetError) {
                let stream = try await control.connected().open(
                    ControlMethod.watchJob, try JSON.encode(NameRequest(name: id)), ends: true)
                while true {
                    switch try await stream.receive() {
                    case .message(let bytes):
                        let event = try JSON.decode(JobEvent.self, from: bytes)
                        failures = 0
                        if event.kind == .progress {
                            each(event)
                            continue
                        }
                        guard event.sequence > seen else { continue }
                        seen = event.sequence
                        each(event)
                    case .end(let body): return try JSON.decode(JobRecord.self, from: body)
                    case .data: throw FleetError(.protocolViolation, "bytes in a job's events")
                    }
                }
            } catch {
                failures += 1
                guard error.isRetryable, failures <= 30 else {
                    throw FleetError(
                        error.code, "job \(id) was lost sight of: \(error.message)",
                        hint: "it goes on without this command; see 'fleetctl job show \(id)'")
                }
                try? await Task.sleep(for: .seconds(min(failures, 5)))
            }
        }
    }

    /// One line an event, as `restore` and `job watch` show it.
    static func line(_ event: JobEvent) -> String? {
        let time = event.time.short.dropFirst(11)
        let detail = event.detail.map { ": \($0)" } ?? ""
        switch event.kind {
        case .accepted: return "\(time)  the agent has accepted the job"
        case .stepStarted: return "\(time)  \(event.step ?? "step") ...\(detail)"
        case .stepDone: return "\(time)  \(event.step ?? "step") done\(detail)"
        case .stepFailed:
            return
                "\(time)  \(event.step ?? "step") FAILED: \(event.error?.message ?? event.detail ?? "no reason given")"
        case .note: return event.detail.map { "\(time)  \($0)" }
        case .outcome, .progress: return nil
        }
    }
}

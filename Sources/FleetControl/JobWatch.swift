internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Follows a job to its end.
enum JobWatch {
    /// Bytes; nine members with their plans are far below it.
    private static let recordLimit = 64 << 20

    /// Calls `each` for every event, those of the past included, and returns the job as it ended. A lost connection is
    /// taken up again: the job goes on without us; `lost` is called once each time.
    static func follow(
        _ id: String, _ control: Control, lost: (FleetError) -> Void = { _ in }, each: (JobEvent) -> Void
    ) async throws(FleetError) -> JobRecord {
        // By job: a restore of several members tells of each.
        var seen: [String: Int] = [:]
        var failures = 0
        while true {
            do throws(FleetError) {
                let stream = try await control.connected().open(
                    ControlMethod.watchJob, try JSON.encode(NameRequest(name: id)), ends: true)
                // A record may be longer than a frame: then it comes in pieces, of which the end has the last.
                var record: [UInt8] = []
                while true {
                    switch try await stream.receive() {
                    case .message(let bytes):
                        let event = try JSON.decode(JobEvent.self, from: bytes)
                        failures = 0
                        if event.kind == .progress {
                            each(event)
                            continue
                        }
                        guard event.sequence > seen[event.job, default: 0] else { continue }
                        seen[event.job] = event.sequence
                        each(event)
                    case .data(let piece):
                        guard record.count + piece.count <= Self.recordLimit else {
                            throw FleetError(
                                .protocolViolation, "a job's record of more than \(Self.recordLimit) bytes")
                        }
                        record += piece
                    case .end(let last): return try JSON.decode(JobRecord.self, from: record + last)
                    }
                }
            } catch {
                failures += 1
                guard error.isRetryable, failures <= 30 else {
                    throw FleetError(
                        error.code, "job \(id) was lost sight of: \(error.message)",
                        hint: "it goes on without this command; see 'fleetctl job show \(id)'")
                }
                if failures == 1 { lost(error) }
                try? await Task.sleep(for: .seconds(min(failures, 5)))
            }
        }
    }
}

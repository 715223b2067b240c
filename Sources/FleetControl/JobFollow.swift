internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// A job told of to its end, line by line; on a terminal a transfer is drawn in place.
enum JobFollow {
    /// - Parameters:
    ///   - goesOn: what ctrl-c says, since the job does.
    ///   - say: takes each line, without control characters; nil where only the end is wanted.
    static func toItsEnd(
        _ job: JobRecord, _ control: Control, _ call: Invocation, goesOn: String, say: ((String) -> Void)?
    ) async throws(FleetError) -> JobRecord {
        let terminal = call.terminal
        let isTold = say != nil && !Output.isJSON(call)
        Interruption.says(goesOn)
        var lines = JobLines(job, isLive: true)
        let past = lastEvents(of: job)
        var isDrawn = false
        func erase() {
            if isDrawn { terminal.noteRaw("\r\u{1b}[K") }
            isDrawn = false
        }
        func lost(_ error: FleetError) {
            guard !Output.isJSON(call) else { return }
            erase()
            terminal.note("the coordinator is out of reach (\(Terminal.clean(error.message))); asking again")
        }
        let ended = try await JobWatch.follow(job.id, control, lost: lost) { event in
            guard isTold else { return }
            // By the nodes' own clocks: of what was before, who was last is not known.
            lines.isLive = event.sequence > past[event.job, default: 0]
            if let line = lines.line(event) {
                erase()
                say?(Terminal.clean(line))
            }
            if event.kind == .progress, terminal.errorIsTerminal {
                let node = lines.nodes[event.job].map { "\($0)  " } ?? ""
                terminal.noteRaw("\r\u{1b}[K          \(node)\(Terminal.clean(event.detail ?? ""))\r")
                isDrawn = true
            }
        }
        erase()
        Interruption.isOver()
        return ended
    }

    /// By job, the number of the last one that was known when the following began.
    private static func lastEvents(of job: JobRecord) -> [String: Int] {
        var last: [String: Int] = [:]
        for event in job.events + (job.members ?? []).flatMap(\.events) {
            last[event.job] = max(last[event.job, default: 0], event.sequence)
        }
        return last
    }
}

extension JobState {
    /// How a command ends that has followed such a job.
    var exitStatus: ExitStatus {
        switch self {
        case .succeeded: .success
        case .rolledBack: .rolledBack
        case .stuck: .stuck
        case .queued, .delivered, .running, .failed, .refused, .expired, .lost: .failure
        }
    }
}

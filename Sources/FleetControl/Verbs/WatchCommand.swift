internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let watchCommand = Command(
    "watch", "The whole fleet on one screen, live",
    discussion: """
        The screen of 'fleetctl status', whose help says what is on it, drawn again and again until ctrl-c. Where the coordinator can't be reached it says so
        above what was known last, and goes on.
        """,
    options: [.init("interval", value: "DURATION", "how often (default 2s)")],
    examples: [.init("fleetctl watch --interval 10s", "for a screen on the wall")]
) { call in
    let interval = try call.duration("interval", default: .seconds(2))
    let control = try await Coordinator.control(call)
    var last: FleetStatus?
    while !Task.isCancelled {
        var failure: FleetError?
        do throws(FleetError) {
            // It is asked again soon; what is on the screen must not look like now for longer.
            last = try await control.ask(ControlMethod.status, ListRequest(), attempts: 1)
        } catch {
            // What waiting does not mend is said at once: a revoked certificate, a coordinator that is another.
            guard error.isRetryable || error.code == .notFound else { throw error }
            failure = error
        }
        guard draw(last, failure, call.terminal) else { break }
        do { try await Task.sleep(for: interval) } catch { break }
    }
    return .success
}

/// In one piece, so that nothing flickers.
///
/// - Returns: whether somebody reads it.
private func draw(_ status: FleetStatus?, _ failure: FleetError?, _ terminal: Terminal) -> Bool {
    let page = Monitor("")
    let drawing = Terminal(
        outputIsTerminal: terminal.outputIsTerminal, errorIsTerminal: terminal.errorIsTerminal, color: terminal.color,
        columns: terminal.columns
    ) { _, text in page.withLock { $0 += text } }
    drawing.print(drawing.bold("fleet at \(status?.time.short ?? Timestamp.now().short)"))
    if let failure {
        drawing.print(drawing.red("not reached at \(Timestamp.now().short): \(Terminal.clean(failure.message))"))
    }
    drawing.print("")
    if let status { showStatus(status, drawing) }
    let text = page.withLock(\.self)
    // Home, the page, and nothing of the one before.
    return terminal.printAgain(terminal.outputIsTerminal ? "\u{1b}[H\u{1b}[2J" + text : text + "\n")
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let auditReportCommand = Command(
    "report", "Make the report that an auditor asks for, signed by the coordinator",
    discussion: """
        Every cluster with its objective and whether it was met day by day; backups made, verified and proven by drill; restores
        with who asked, who approved and what happened at each step; failures and how long they stood; what retention deleted
        and why; changes of people, roles, keys, agents and policies; what was refused; certificates near their end; the state
        of the audit chain.

        It is made from the events of the audit chain alone, and signed together with the hash of the last of them, so that
        'fleetctl audit verify --report FILE' can tell at any time whether the file is what was made then, and the chain what
        it was. That a report was made is an event itself. All times are UTC; a duration in whole days begins at midnight.

        html is one page that needs nothing else, and prints well. json has all the data, under "report". csv has a line for
        each thing, and a first column that says of what kind it is: day, backup, drill, failure, restore, restore-step,
        deletion, change, refusal, certificate and others; filter on that. Of each kind the newest 10000 are listed
        (of backups and deletions 2000 in html and md), the days and the counts are of all.
        """,
    options: [
        .init("since", value: "TIME", "from when on: 90d, or a time such as 2026-09-01 (default 90d)"),
        .init("until", value: "TIME", "up to when (default: now)"),
        .init("cluster", value: "NAME", "only this one; may be given again", repeated: true),
        .init(
            "format", value: "FORMAT", "how it is written (default: as FILE ends; md without one)",
            choices: ReportFormat.allCases.map(\.rawValue)),
        .init(
            "file", short: "f", value: "FILE", "where to write it, which must not be there (default: standard output)"),
    ],
    examples: [
        .init("fleetctl audit report -f audit.html", "the last 90 days, as a page to read and to print"),
        .init(
            "fleetctl audit report --since 2026-07-01 --until 2026-10-01 --cluster cluster-a -f q3.json",
            "a quarter of one cluster, for programs"),
        .init("fleetctl audit verify --report audit.html", "later: is it what was made then?"),
    ],
    exitStatuses: [
        (.partialFailure, "the chain is broken; the report was made, and ends with the last event before the break")
    ]
) { call in
    let path = call.value("file")
    let format =
        call.value("format").flatMap { ReportFormat(rawValue: $0) } ?? path.flatMap { ReportFormat(file: $0) }
        ?? (path == nil ? .md : .html)
    if let path {
        guard try FileSystem.status(path) == nil else {
            throw FleetError(.alreadyExists, "\(path) is there already", hint: "name another file for the report")
        }
    }
    let since = try ReportMoment(call.value("since") ?? "90d", "since")
    let until = try call.value("until").map { text throws(FleetError) in try ReportMoment(text, "until") }
    guard until?.lastSeconds == nil else {
        throw FleetError(.usage, "--until takes a time, not a duration", hint: "for instance --until 2026-10-01")
    }
    let request = ReportRequest(
        since: since.time, lastSeconds: since.lastSeconds, until: until?.time, clusters: call.values("cluster"))
    let control = try await Coordinator.control(call)
    let stream = try await control.connected().open(ControlMethod.auditReport, try JSON.encode(request), ends: true)
    let (bytes, last) = try await ReportStream.receive(stream)
    let signed = try SignedReport(bytes: bytes, envelope: try JSON.decode(Envelope.self, from: last))
    let file = try format.render(signed)
    if let path { try FileSystem.writeDurably(path, file) } else { try call.terminal.printBytes(file) }
    let report = signed.report
    call.terminal.note(
        "\(path ?? "report"): \(ReportText.count(report.clusters.count, "cluster")) from \(ReportText.time(report.since)) to "
            + "\(ReportText.time(report.until)), of \(report.chain.height) events; head \(report.chain.head)")
    for concern in report.concerns.prefix(5) { call.terminal.note("! \(Terminal.clean(concern))") }
    if report.concerns.count > 5 { call.terminal.note("! and \(report.concerns.count - 5) more, in the report") }
    return report.chain.firstBreak == nil ? .success : .partialFailure
}

/// "90d", or a time.
struct ReportMoment {
    var time: Timestamp?
    var lastSeconds: Int?

    init(_ text: String, _ option: String) throws(FleetError) {
        time = Timestamp(text)
        guard time == nil else { return }
        guard let duration = Durations.parse(text) else {
            throw FleetError(
                .usage,
                "--\(option) takes a duration such as 90d, or a time such as 2026-09-01, not \(text.debugDescription)")
        }
        lastSeconds = Int(duration.milliseconds / 1000)
    }
}

/// A report as it comes from the coordinator.
enum ReportStream {
    /// Days of a thousand clusters are ten megabytes; all lists, as long as they may be, a hundred.
    static let limit = 512 << 20

    /// - Returns: the bytes, and what ended them.
    static func receive(_ stream: FleetProtocol.Stream) async throws(FleetError) -> ([UInt8], [UInt8]) {
        var bytes: [UInt8] = []
        while true {
            switch try await stream.receive() {
            case .data(let piece):
                bytes += piece
                guard bytes.count <= limit else {
                    throw FleetError(
                        .limit, "the report is larger than \(limit) bytes", hint: "give --cluster or --since")
                }
            case .end(let last): return (bytes, last)
            case .message: throw FleetError(.protocolViolation, "a message in a report")
            }
        }
    }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

let auditCommand = Command(
    "audit", "Who did what, and proof that the record is whole",
    subcommands: [
        Command(
            "log", "Print the audit log, oldest first",
            arguments: [.init("CLUSTER", "only this cluster's", count: .optional)],
            options: [
                .init("since", value: "TIME", "only from then on: 2d, or a time such as 2026-11-24T06:00"),
                .init("limit", value: "N", "only the newest N (default 200; with --since 10000)"), Output.option,
            ],
            examples: [
                .init("fleetctl audit log cluster-a", "the newest of what was done to cluster-a"),
                .init("fleetctl audit log --since 2d", "all of two days"),
            ]
        ) { call in
            let moment = try call.value("since").map { text throws(FleetError) in try ReportMoment(text, "since") }
            let since = moment.flatMap { $0.time ?? $0.lastSeconds.map { Timestamp.now().adding(.seconds(-$0)) } }
            let control = try await Coordinator.control(call)
            let limit = try call.number("limit", default: since == nil ? 200 : 10_000)
            let newest: [AuditRecord] = try await control.ask(
                ControlMethod.auditLog, ListRequest(cluster: call.argument("CLUSTER"), limit: limit, since: since))
            let records = newest.filter { record in since.map { record.event.time >= $0 } ?? true }
            if since != nil, records.count == limit {
                call.terminal.note("only the newest \(limit) are shown; --limit shows more")
            }
            if Output.isJSON(call) {
                try Output.json(records, call)
                return .success
            }
            var table = Table([
                ("NO", .right), ("TIME", .left), ("WHO", .left), ("WHAT", .left), ("CLUSTER", .left),
                ("SUBJECT", .left), ("OUTCOME", .left), ("DETAIL", .left),
            ])
            let terminal = call.terminal
            for event in records.map(\.event) {
                let detail = event.detail.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(
                    separator: " ")
                table.add(
                    [
                        "\(event.sequence)", event.time.description, event.actor, event.action, event.cluster ?? "",
                        event.subject ?? "", event.outcome.rawValue, detail,
                    ],
                    paint: [6: { event.outcome == .ok ? terminal.green($0) : terminal.red($0) }])
            }
            table.print(terminal)
            return .success
        },
        Command(
            "verify", "Prove that no event was changed, removed or put in between",
            discussion: """
                It finds every event that was changed, removed or put in between, unless all that follows was made anew: whoever
                can write the coordinator's database can do that, so keep the last hash that this prints somewhere else, and
                compare.

                With --report it tells whether a file of 'fleetctl audit report' is what the coordinator made: the signature, the
                data, each byte that is shown, and that the chain still has the events of which it was made and says the same.
                """,
            options: [
                .init("report", value: "FILE", "check this report, of whatever format, against the chain"),
                Output.option,
            ],
            examples: [
                .init("fleetctl audit verify", "walks the whole chain of hashes"),
                .init("fleetctl audit verify --report audit.html", "is it what was made then?"),
            ],
            exitStatuses: [
                (.partialFailure, "the chain is broken; the first place is named"),
                (
                    .findings,
                    "with --report: the file is not what was made, or the chain not what it was; said line by line"
                ),
            ]
        ) { call in
            if let path = call.value("report") { return try await AuditVerifyReport.run(path, call) }
            let control = try await Coordinator.control(call)
            let verdict: AuditVerdict = try await control.ask(ControlMethod.verifyAudit, ListRequest())
            if Output.isJSON(call) {
                try Output.json(verdict, call)
            } else if let broken = verdict.firstBreak {
                call.terminal.print(
                    "\(call.terminal.red("BROKEN")) at event \(broken.sequence) (\(broken.kind.rawValue)): \(Terminal.clean(broken.message))"
                )
            } else {
                call.terminal.print(
                    "\(call.terminal.green("ok"))  \(verdict.events) events, the chain holds; head \(verdict.head)")
            }
            if !Output.isJSON(call) {
                for finding in verdict.findings { call.terminal.note("odd: \(Terminal.clean(finding))") }
            }
            return verdict.isIntact ? .success : .partialFailure
        },
        auditReportCommand,
    ])

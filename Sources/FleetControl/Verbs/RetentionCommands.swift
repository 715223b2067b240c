internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

enum RetentionWords {
    static func text(_ record: RetentionRecord) -> String {
        if record.keepsAll == true { return "everything" }
        guard let policy = record.policy else { return "everything (no policy)" }
        return policy.text + (record.from.map { " (policy \($0))" } ?? "")
    }
}

let retentionCommand = Command(
    "retention", "How long snapshots are kept",
    discussion: """
        What is set here belongs to one cluster and goes before the retention of the policy that it follows ('fleetctl
        policy'). It is applied when 'retention apply' is run, and behind each backup that a policy demanded. A snapshot
        stays if any rule keeps it. Whatever the policy, these stay: the newest verified snapshot of the cluster, the newest
        that a drill proved, pinned ones, those that an open restore needs, foreign ones, those that were sound and can't be
        read now, and those that a wrong clock has dated ahead of the present. A cluster without a policy keeps everything.
        """,
    subcommands: [
        Command(
            "set", "Set or remove a cluster's policy", arguments: [.init("CLUSTER", "its name")],
            options: [
                .init("keep-last", value: "N", "the newest N"),
                .init("keep-hourly", value: "N", "the newest of each of the last N hours that have any"),
                .init("keep-daily", value: "N", "of each of N days"),
                .init("keep-weekly", value: "N", "of each of N weeks, which begin on Monday"),
                .init("keep-monthly", value: "N", "of each of N months"),
                .init("keep-yearly", value: "N", "of each of N years"),
                .init("none", "keep everything, whatever the policy says that the cluster follows"),
                .init("inherit", "nothing of its own: what the policy says that it follows"),
            ],
            examples: [
                .init(
                    "fleetctl retention set cluster-a --keep-last 7 --keep-daily 14 --keep-weekly 8",
                    "hours, days and weeks are those of UTC"),
                .init("fleetctl retention set cluster-a --none", "keep everything from now on"),
            ]
        ) { call in
            func count(_ name: String) throws(FleetError) -> Int {
                call.value("keep-\(name)") == nil ? 0 : try call.number("keep-\(name)", default: 0)
            }
            let policy = RetentionPolicy(
                last: try count("last"), hourly: try count("hourly"), daily: try count("daily"),
                weekly: try count("weekly"), monthly: try count("monthly"), yearly: try count("yearly"))
            let given = [policy != RetentionPolicy(), call.has("none"), call.has("inherit")].count { $0 }
            guard given == 1 else {
                throw FleetError(
                    .usage, given == 0 ? "no rule was given" : "of rules, --none and --inherit more than one was given",
                    hint: "give rules like --keep-last 7 --keep-daily 14, or --none alone, or --inherit alone")
            }
            let control = try await Coordinator.control(call)
            var wanted = RetentionRecord(
                cluster: call.argument("CLUSTER")!, policy: policy == RetentionPolicy() ? nil : policy)
            if wanted.policy == nil { wanted.keepsAll = call.has("none") }
            let set: RetentionRecord = try await control.call(ControlMethod.setRetention, wanted)
            call.terminal.print("\(set.cluster) keeps \(RetentionWords.text(set))")
            if set.policy != nil {
                call.terminal.note("nothing was deleted; see first: fleetctl retention apply \(set.cluster) --dry-run")
            }
            return .success
        },
        Command(
            "show", "Show policies", arguments: [.init("CLUSTER", "only this cluster's", count: .optional)],
            options: [Output.option], examples: [.init("fleetctl retention show", "of every cluster")]
        ) { call in
            let control = try await Coordinator.control(call)
            let records: [RetentionRecord] = try await control.ask(
                ControlMethod.listRetention, ListRequest(cluster: call.argument("CLUSTER")))
            if Output.isJSON(call) {
                try Output.json(records, call)
                return .success
            }
            var table = Table([("CLUSTER", .left), ("KEEPS", .left)])
            for one in records { table.add([one.cluster, RetentionWords.text(one)]) }
            table.print(call.terminal)
            return .success
        },
        Command(
            "apply", "Delete what no rule keeps, and explain each decision",
            discussion: "The space comes back with 'fleetctl store gc'.",
            arguments: [.init("CLUSTER", "the clusters", count: .any)],
            options: [
                .init("all", short: "a", "every cluster that has a policy"),
                .init("dry-run", "only show what would be deleted, and why"), .init("yes", short: "y", "do not ask"),
                Output.option,
            ],
            examples: [
                .init("fleetctl retention apply cluster-a --dry-run", "a line for each snapshot, with the reason"),
                .init("fleetctl retention apply --all --yes", "for a timer"),
            ],
            exitStatuses: [
                (.partialFailure, "some snapshots or clusters could not be dealt with; their lines say why"),
                (.declined, "the question was not answered with yes"),
            ], run: RetentionRun.command),
    ])

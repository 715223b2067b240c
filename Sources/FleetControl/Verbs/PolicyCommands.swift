internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// When something is due, exactly as the coordinator's planner has it.
private let timing = """
    A schedule is crontab's five fields on the clocks of the time zone, '@hourly', '@daily' and so on, or '@every LENGTH' (1m to
    366d). That counts from 1970-01-01T00:00Z, whatever the time zone and whenever it was set: '@every 6h' is due at 00:00, 06:00,
    12:00 and 18:00 UTC, '@every 7d' on Thursdays. What was due before a schedule was set, or before a cluster came to it, is
    not made up for.

    Where clocks are set forward over the time of a schedule, it is due at that moment; where they are set back, the first time
    only. One whose hours begin with '*' goes on with the time that passes: hours that clocks leave out are left out, those that
    they show twice are due twice.

    Of what could not begin when it was due (the coordinator was down, no agent was there, the cluster had another job, no
    window was open), only the latest is made up for, once, as soon as it can begin. Windows say when something may begin, by
    the clocks of the time zone; what has begun goes on beyond them. What is due outside of all windows begins when the next
    one opens, and so does what is made up for or tried again; what had no turn before it closed waits for the next. Jitter counts
    from the moment at which a run is due, or from that opening, and is at most half of the time until the next run and until the
    closing.

    What fails is tried again a minute later, then 5, then 25, then 60 each time, on another member where there is one, until its
    attempts are used up or the next run is due. For a week, or until one of it succeeds, a member
    whose last backup failed is asked behind the others whose etcd runs and knows a leader.
    """

let policyCommand = Command(
    "policy", "What happens by itself: backups, drills and retention by schedule",
    discussion: """
        A policy selects clusters by name or by label, and says when they are backed up and drilled, how old the newest backup
        may be and what is kept. Policies have an order: a cluster follows the first that selects it, and one that none
        selects is left to people. Runs of one cluster never overlap. Retention is applied behind each backup that a policy
        demanded; what 'fleetctl retention set' says of a cluster goes before its policy's. 'fleetctl status' names each cluster
        whose newest backup is older than its objective, and what is due and can't begin.

        \(timing)
        """,
    subcommands: [policyListCommand, policyShowCommand, policySet, policyRemoveCommand, policyApply])

private let policySet = Command(
    "set", "Make a policy, or change what is named of one",
    discussion: """
        A new one comes behind the others, and selects every cluster unless --cluster or --label says otherwise. What is not
        named stays as it was; 'none' takes back a schedule, a drill, a bandwidth, an objective or all windows, --every-cluster what it
        selects by, --no-retention what it keeps. A cluster follows the first policy that selects it; 'fleetctl policy list' has
        the order, and 'fleetctl policy apply' another one.

        \(timing)
        """,
    arguments: [.init("POLICY", "its name")],
    options: [
        .init("cluster", value: "NAME", "select this cluster", repeated: true),
        .init("label", value: "KEY=VALUE", "select clusters with this label; all of those given", repeated: true),
        .init("every-cluster", "select every cluster again"),
        .init("schedule", value: "CRON", "when a backup is due: five fields, '@daily', '@every 6h', or 'none'"),
        .init("timezone", value: "ZONE", "of schedules and windows, as Europe/Berlin (default UTC)"),
        .init("jitter", value: "LENGTH", "begin up to this much later, each cluster otherwise"),
        .init("window", value: "WHEN", "begin only then, as 'mon-fri 22:00-06:00', or 'none'", repeated: true),
        .init("attempts", value: "N", "of one backup or drill, the first included (default 3)"),
        .init("parallel", value: "N", "clusters of this policy at once (default 4), drills apart"),
        .init("bandwidth", value: "RATE", "of all its backups together, as 20MB a second, or 'none'"),
        .init("objective", value: "LENGTH", "how old the newest backup may be, as 8h, or 'none'"),
        .init("drill", value: "CRON", "when the newest backup is drilled, or 'none'"),
        .init("keep-last", value: "N", "retention: the newest N; any --keep- sets all of them anew"),
        .init("keep-hourly", value: "N", "of each of N hours"), .init("keep-daily", value: "N", "of each of N days"),
        .init("keep-weekly", value: "N", "of each of N weeks"),
        .init("keep-monthly", value: "N", "of each of N months"),
        .init("keep-yearly", value: "N", "of each of N years"),
        .init("no-retention", "keep what the clusters' own retention says, and everything without one"), Output.option,
    ],
    examples: [
        .init(
            "fleetctl policy set nightly --schedule '30 2 * * *' --timezone Europe/Berlin --objective 26h",
            "every cluster, each night"),
        .init("fleetctl policy set production --label env=production --schedule '@every 4h' --jitter 10m", "by label"),
    ]
) { call in
    let control = try await Coordinator.control(call)
    let name = call.argument("POLICY")!
    let records: [PolicyRecord] = try await control.ask(ControlMethod.listPolicies, ListRequest())
    var policy = records.first { $0.policy.name == name }?.policy ?? FleetPolicy(name: name)
    func seconds(_ option: String, _ present: Int?) throws(FleetError) -> Int? {
        guard let text = call.value(option) else { return present }
        guard let length = Durations.parse(text) else {
            throw FleetError(.usage, "--\(option) takes a length such as 10m, 6h or 1d12h, not \(Names.quote(text))")
        }
        return Int(length.seconds)
    }
    func schedule(_ option: String, _ present: String?) -> String? {
        guard let text = call.value(option) else { return present }
        return text == "none" ? nil : text
    }
    let isSelecting = !call.values("cluster").isEmpty || !call.values("label").isEmpty
    guard !isSelecting || !call.has("every-cluster") else {
        throw FleetError(.usage, "--every-cluster and a cluster or label were given", hint: "one of the two")
    }
    if isSelecting || call.has("every-cluster") {
        policy.clusters = call.values("cluster")
        policy.labels = try LabelWords.parse(call.values("label"))
    }
    policy.schedule = schedule("schedule", policy.schedule)
    policy.drill = schedule("drill", policy.drill)
    policy.timezone = call.value("timezone") ?? policy.timezone
    policy.jitter = try seconds("jitter", policy.jitter)!
    if !call.values("window").isEmpty { policy.windows = call.values("window").filter { $0 != "none" } }
    policy.attempts = try call.number("attempts", default: policy.attempts)
    policy.parallel = try call.number("parallel", default: policy.parallel)
    if let text = call.value("bandwidth") {
        policy.bandwidth = text == "none" ? nil : Rates.parse(text)
        guard text == "none" || policy.bandwidth != nil else {
            throw FleetError(.usage, "--bandwidth takes \(Rates.form), not \(Names.quote(text))")
        }
    }
    policy.objective = call.value("objective") == "none" ? nil : try seconds("objective", policy.objective)
    if call.has("no-retention") { policy.retention = nil }
    let rules = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]
    if rules.contains(where: { call.value("keep-\($0)") != nil }) {
        func count(_ rule: String) throws(FleetError) -> Int {
            call.value("keep-\(rule)") == nil ? 0 : try call.number("keep-\(rule)", default: 0)
        }
        policy.retention = RetentionPolicy(
            last: try count("last"), hourly: try count("hourly"), daily: try count("daily"),
            weekly: try count("weekly"), monthly: try count("monthly"), yearly: try count("yearly"))
    }
    let record: PolicyRecord = try await control.call(ControlMethod.setPolicy, policy)
    if Output.isJSON(call) {
        try Output.json(record, call)
    } else {
        for line in PolicyWords.lines(record) { call.terminal.print(Terminal.clean(line)) }
    }
    if let nobody = PolicyWords.nobody(name, record.selects) { call.terminal.note(nobody) }
    return .success
}

private let policyApply = Command(
    "apply", "Make the fleet's policies those of a file",
    discussion: """
        The file has all of them, in their order; what is not in it is removed. It is YAML:

          policies:
            - name: production
              labels: {env: production}        # or clusters: [a, b]; neither: every cluster
              schedule: "30 */4 * * *"         # or @daily, @every 6h
              timezone: Europe/Berlin          # default UTC
              jitter: 10m
              windows: ["mon-fri 20:00-06:00", "sat,sun 00:00-24:00"]
              attempts: 3                      # of one backup
              parallel: 4                      # clusters at once
              bandwidth: 20MB                  # a second, of all its backups together
              objective: 6h                    # how old the newest backup may be
              retention: {last: 6, daily: 14, weekly: 8}
              drill: "0 5 * * sun"

        A cluster follows the first that selects it. Only 'name' is needed; without a schedule nothing is backed up by itself.

        \(timing)
        """,
    arguments: [.init("FILE", "the file, '-' for standard input")],
    options: [
        .init("dry-run", "only show what would change"), .init("yes", short: "y", "do not ask"), Output.option,
    ],
    examples: [
        .init("fleetctl policy apply policies.yaml --dry-run", "what would change"),
        .init("fleetctl policy apply policies.yaml --yes", "for a pipeline"),
    ],
    exitStatuses: [(.declined, "the question was not answered with yes")]
) { call in
    let (file, terminal) = (call.argument("FILE")!, call.terminal)
    let bytes = try file == "-" ? FileSystem.read("/dev/stdin", limit: 4 << 20) : FileSystem.read(file, limit: 4 << 20)
    let policies = try PolicyFile.read(bytes, file: file == "-" ? "standard input" : file)
    let control = try await Coordinator.control(call)
    let planned: [PolicyChange] = try await control.call(
        ControlMethod.applyPolicies, PolicySet(policies: policies, dryRun: true))
    // Who falls from one policy to another may lose snapshots by one that stays as it is.
    let news = planned.filter { $0.kind != .unchanged || ($0.deletes ?? 0) > 0 || $0.comes?.isEmpty == false }
    let isNothing = planned.allSatisfy { $0.kind == .unchanged }
    func show(_ changes: [PolicyChange]) throws {
        if Output.isJSON(call) { return try Output.json(changes, call) }
        for line in changes.flatMap(PolicyWords.lines) { terminal.print(Terminal.clean(line)) }
    }
    if call.has("dry-run") || isNothing {
        try show(planned)
        if !Output.isJSON(call) { terminal.note(isNothing ? "nothing changes" : "nothing was changed") }
        return .success
    }
    if !call.has("yes") {
        for line in news.flatMap(PolicyWords.lines) { terminal.note(Terminal.clean(line)) }
        guard terminal.confirms("Apply this?") else {
            terminal.note("nothing was done; it goes on with y on a terminal, or with --yes")
            return .declined
        }
    }
    try show(try await control.call(ControlMethod.applyPolicies, PolicySet(policies: policies, dryRun: false)))
    return .success
}

let clusterLabelCommand = Command(
    "label", "Set or remove labels of a cluster",
    discussion: """
        Policies select clusters by them. KEY=VALUE sets one, KEY- removes it. It says which policy the cluster follows then.
        """,
    arguments: [.init("CLUSTER", "its name"), .init("LABEL", "KEY=VALUE or KEY-", count: .atLeastOne)],
    options: [Output.option],
    examples: [.init("fleetctl cluster label cluster-a env=production region=eu", "two labels")]
) { call in
    var request = LabelRequest(cluster: call.argument("CLUSTER")!, set: [:], remove: [])
    for word in call.arguments("LABEL") {
        if word.hasSuffix("-"), !word.contains("=") {
            request.remove.append(String(word.dropLast()))
        } else {
            request.set.merge(try LabelWords.parse([word])) { $1 }
        }
    }
    let cluster: ClusterRecord = try await Coordinator.control(call).call(ControlMethod.labelCluster, request)
    if Output.isJSON(call) {
        try Output.json(cluster, call)
    } else {
        call.terminal.print("\(cluster.name)  \(LabelWords.text(cluster.labels ?? [:]))")
        call.terminal.note(PolicyWords.followed(by: cluster))
    }
    return .success
}

enum LabelWords {
    static func text(_ labels: [String: String]) -> String {
        labels.isEmpty ? "no labels" : labels.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: " ")
    }

    static func parse(_ words: [String]) throws(FleetError) -> [String: String] {
        var labels: [String: String] = [:]
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw FleetError(
                    .usage, "\(Names.quote(word)) is no label", hint: "write KEY=VALUE, as in env=production")
            }
            labels[String(parts[0])] = String(parts[1])
        }
        return labels
    }
}

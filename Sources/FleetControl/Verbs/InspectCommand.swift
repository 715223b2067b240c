internal import EtcdSnapshot
internal import FleetCommandLine
internal import FleetSystem

let inspectCommand = Command(
    "inspect", "Read and check a snapshot file, with no coordinator and no etcd tools",
    discussion: """
        Takes what 'etcdctl snapshot save' wrote, or a stopped member's member/snap/db. Hash, revision, keys and size are
        those of 'etcdutl snapshot status' 3.4 and 3.5; beyond that every page, key and value is checked, and the SHA-256
        at the end, which etcd's own status does not look at. The file must not change while it is read.
        """,
    arguments: [.init("FILE", "the snapshot")],
    options: [Output.option],
    examples: [
        .init("fleetctl inspect /backup/etcd.db", "what is in it, and whether it is sound"),
        .init("fleetctl inspect -o json etcd.db | jq .hash", "one field, for a script"),
    ],
    exitStatuses: [
        (.findings, "read, but something in it is wrong; it is listed"),
        (.notASnapshot, "the file is no etcd snapshot"),
    ]
) { call in
    let path = call.argument("FILE")!
    let report: SnapshotReport
    do {
        report = try await Blocking.run { try SnapshotReader(path: path).report() }
    } catch {
        let error = FleetError(error)
        guard error.code == .notASnapshot else { throw error }
        call.terminal.error(error)
        return .notASnapshot
    }
    if Output.isJSON(call) { try Output.json(report, call) } else { print(report, call.terminal) }
    return report.isSound ? .success : .findings
}

private func print(_ report: SnapshotReport, _ terminal: Terminal) {
    let live = report.liveKeys.map { "\($0) live" } ?? "live ones can't be counted"
    var rows: [(String, String)] = [
        ("hash", "\(report.hash) (\(String(report.hash, radix: 16)))"), ("revision", "\(report.revision)"),
        ("keys", "\(live), \(report.totalKey) entries in all"),
        ("size", "\(report.totalSize) bytes (\(Human.bytes(report.totalSize))) in pages of \(report.pageSize)"),
        // Of all that is before it: sha256sum of the whole file, which 'snapshot show' and 'export' give, is another.
        ("trailer sha256", digest(report)),
    ]
    if let hashKV = report.hashKV, let revision = report.hashRevision {
        let compacted = report.compactRevision.map { "compacted to \($0)" } ?? "never compacted"
        rows.append(("hashkv", "\(hashKV) at revision \(revision), \(compacted)"))
    }
    rows.append(("cluster version", report.clusterVersion ?? "not set"))
    if let version = report.storageVersion { rows.append(("storage version", version)) }
    rows.append(("leases", "\(report.leases)"))
    let auth = report.auth
    rows.append(("auth", "\(auth.enabled ? "enabled" : "disabled"), \(auth.users) users, \(auth.roles) roles"))
    if !report.encryptedAtRest.isEmpty {
        rows.append(("encrypted", EncryptionWords.line(report.encryptedAtRest, report.encryptionKeys)))
    }
    for member in report.members {
        let kind = member.isLearner ? ", a learner" : ""
        rows.append(("member", "\(member.name) (\(member.id)) \(member.peerURLs.joined(separator: ", "))\(kind)"))
    }
    for alarm in report.alarms { rows.append(("alarm", "\(alarm.alarm) raised by \(alarm.member)")) }
    for (name, value) in rows {
        terminal.print("\(name)\(String(repeating: " ", count: 17 - name.count))\(Terminal.clean(value))")
    }
    guard !report.isSound else { return terminal.print("\nfindings         \(terminal.green("none, it is sound"))") }
    terminal.print("")
    var table = Table([("FINDING", .left), ("PAGE", .right), ("BUCKET", .left), ("REASON", .left)])
    for one in report.findings {
        table.add(
            [one.kind.rawValue, one.page.map { "\($0)" } ?? "", one.bucket ?? "", one.reason],
            paint: [0: { terminal.red($0) }])
    }
    table.print(terminal)
    if report.totalFindings > report.findings.count {
        terminal.note("\(report.totalFindings) findings, of which the first \(report.findings.count) are shown")
    }
}

private func digest(_ report: SnapshotReport) -> String {
    guard let sha256 = report.sha256 else { return "none: a raw database, not saved by 'snapshot save'" }
    return sha256.ok ? "\(sha256.computed), as stored" : "\(sha256.computed), but \(sha256.stored) is stored"
}

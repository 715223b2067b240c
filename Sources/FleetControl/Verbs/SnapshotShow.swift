internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// `snapshot show`: what the node told, then what the coordinator read itself.
enum SnapshotShow {
    static func print(_ entry: SnapshotEntry, _ terminal: Terminal) {
        for (name, value) in about(entry) + told(entry.record) + read(entry.record)
            + DrillWords.rows(entry)
        {
            terminal.print("\(name)\(String(repeating: " ", count: 17 - name.count))\(Terminal.clean(value))")
        }
        for hint in [entry.problem?.hint, entry.drill?.problem?.hint].compactMap(\.self) {
            terminal.note("hint: \(Terminal.clean(hint))")
        }
    }

    private static func about(_ entry: SnapshotEntry) -> [(String, String)] {
        let (record, facts) = (entry.record, entry.record.facts)
        var rows: [(String, String)] = [
            ("snapshot", record.id),
            ("state", entry.state + (entry.problem.map { ": \($0.message)" } ?? "")),
            ("cluster", record.cluster),
        ]
        if let imported = record.imported {
            let kind = imported.isRawDatabase ? ", a raw database: no digest of etcd's protects it" : ""
            rows.append(("imported", "by \(imported.by) from \(imported.file)\(kind)"))
        } else {
            rows += [("node", record.node), ("job", record.job)]
        }
        rows += [
            ("saved", "\(facts.savedAt)"), ("stored", "\(record.storedAt)"),
            (
                "configuration",
                record.bundles.map { all in
                    "of \(all.map(\.node).joined(separator: ", ")); 'fleetctl bundle show \(record.id)'"
                } ?? "none of its nodes is kept with it"
            ),
            ("size", "\(record.size) bytes (\(Human.bytes(record.size)))"), ("sha256", record.sha256),
        ]
        return rows
    }

    private static func told(_ record: SnapshotRecord) -> [(String, String)] {
        let facts = record.facts
        var rows: [(String, String)] = [
            ("etcd", facts.etcdVersion.isEmpty ? "not known" : facts.etcdVersion),
            ("etcd cluster id", facts.clusterID.isEmpty ? "not known" : facts.clusterID),
            ("members", facts.members.map(String.init) ?? "not known"),
        ]
        guard record.imported == nil else { return rows }
        rows += [
            ("member", "\(facts.memberName) (\(facts.memberID))"), ("saved with", facts.tool),
            ("node's etcd says", "\(status(facts.status))\(facts.liveKeys.map { ", \($0) live" } ?? "")"),
        ]
        for one in facts.certificates { rows.append(("certificate", "\(one.path) ends \(one.notAfter.short)")) }
        for warning in facts.warnings { rows.append(("warning", warning)) }
        return rows
    }

    private static func read(_ record: SnapshotRecord) -> [(String, String)] {
        guard let own = record.verification else {
            return [("read here", "never: it was stored by a version that did not look into snapshots")]
        }
        guard let read = own.status else {
            return own.findings.map { ("finding", line($0)) }
        }
        let live = own.liveKeys.map { "\($0) live" } ?? "too many live to count"
        var rows = [("read here", "\(status(read)), \(live)")]
        if let hash = own.hashKV, let revision = own.hashRevision {
            let compacted = own.compactRevision.map { "compacted to \($0)" } ?? "never compacted"
            rows.append(("hashkv", "\(hash) at revision \(revision), \(compacted)"))
        }
        rows += [
            ("cluster version", own.clusterVersion ?? "not set"), ("leases", "\(own.leases)"),
            ("alarms", own.alarms.isEmpty ? "none" : own.alarms.joined(separator: ", ")),
        ]
        if let providers = own.encryptedAtRest, !providers.isEmpty {
            rows.append(("encrypted", EncryptionWords.line(providers, own.encryptionKeys)))
            if let kept = Decryption(of: record).flatMap(EncryptionWords.kept) { rows.append(("decryption", kept)) }
        }
        if own.isSound {
            let same =
                record.imported == nil
                ? "every page, key and value is sound, and the node's etcd says the same"
                : "every page, key and value is sound"
            rows.append(("verdict", same))
        }
        for finding in own.findings { rows.append(("finding", line(finding))) }
        let more = own.totalFindings - own.findings.count
        if more > 0 { rows.append(("finding", "and \(more) more: export it, then 'fleetctl inspect' lists them")) }
        return rows
    }

    private static func status(_ status: SnapshotStatus) -> String {
        "hash \(status.hash), revision \(status.revision), \(status.totalKey) keys, \(status.totalSize) bytes"
    }

    private static func line(_ finding: SnapshotVerification.Finding) -> String {
        let place = [finding.page.map { "page \($0)" }, finding.bucket.map { "bucket \($0)" }].compactMap(\.self)
        return ([finding.kind] + place).joined(separator: ", ") + ": " + finding.reason
    }
}

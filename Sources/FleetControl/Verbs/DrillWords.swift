internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// What a drill said of a snapshot, for people.
enum DrillWords {
    /// For a column.
    static func short(_ drill: DrillRecord?) -> String {
        guard let drill else { return "never" }
        switch drill.verdict {
        case .proven: return "proven \(drill.finished.short)"
        case .failed: return "FAILED \(drill.finished.short)"
        }
    }

    /// Of a cluster's newest drill, by its day; it may have been one of an older snapshot than the latest.
    static func short(_ cluster: ClusterRecord) -> String {
        guard let drill = cluster.lastDrill else { return "never" }
        let verdict = drill.verdict == .proven ? "proven" : "FAILED"
        return "\(verdict) \(drill.finished.short.prefix(10))"
            + (drill.snapshot == cluster.latestSnapshot ? "" : " (of \(drill.snapshot))")
    }

    static func paint(_ drill: DrillRecord?, _ terminal: Terminal) -> @Sendable (String) -> String {
        switch drill?.verdict {
        case .proven: { terminal.green($0) }
        case .failed: { terminal.red($0) }
        case nil: { $0 }
        }
    }

    /// For `snapshot show`.
    static func rows(_ entry: SnapshotEntry) -> [(String, String)] {
        guard let drill = entry.drill else {
            return [("drill", "never; prove that it restores with 'fleetctl drill \(entry.record.id)'")]
        }
        let report = drill.report
        let took = Human.duration(.milliseconds(Int(report.seconds * 1000)))
        let verdict: String =
            switch drill.verdict {
            case .proven: "proven on \(drill.finished.short) in \(took)"
            case .failed: "failed on \(drill.finished.short): \(drill.problem?.message ?? "no reason given")"
            }
        var rows = [
            ("drill", verdict),
            ("drilled on", "\(drill.node) with etcd \(report.etcd), restored by \(report.tool), \(report.limits)"),
            ("drill job", drill.job),
        ]
        if let figures = report.figures {
            let compacted = figures.compactRevision.map { "compacted to \($0)" } ?? "never compacted"
            rows.append(
                (
                    "scratch etcd",
                    "revision \(figures.revision), \(figures.liveKeys) live, hashkv \(figures.hashKV) at revision "
                        + "\(figures.hashRevision), \(compacted); \(figures.sample.keys) keys read back"
                ))
        }
        return rows
    }
}

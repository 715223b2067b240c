import EtcdSnapshot
import FleetCrypto
import FleetProtocol
import FleetSystem

/// The coordinator's own look at a snapshot, and whether it agrees with what the agent reported from etcd's tool.
enum NativeCheck {
    /// Findings that are kept; a ruined file has millions.
    static let findingLimit = 10
    private static let alarmLimit = 8
    private static let reasonLimit = 300

    /// Follows the tree through all of it. Blocks; computes for about a second a gigabyte, longer where bbolt scattered
    /// the tree. Pages that no tree leads to are `ReadBack`'s matter.
    ///
    /// - Parameters:
    ///   - trailer: SHA-256 of all but the last 32 bytes, as they arrived.
    ///   - facts: the agent's word; nil where no agent saved it.
    ///   - isRaw: a member's own database, which has no digest at its end.
    /// - Throws: only what keeps it from being read; what is wrong with the content is in the answer.
    static func verify(
        _ source: any PageSource, trailer: [UInt8], facts: SnapshotFacts?, isRaw: Bool = false
    ) throws(FleetError) -> SnapshotVerification {
        let report: SnapshotReport
        do throws(FleetError) {
            report = try SnapshotReader(source).report(computed: trailer)
        } catch {
            guard error.code == .notASnapshot || error.code == .limit else { throw error }
            let kind = error.code == .limit ? Finding.Kind.limit.rawValue : "not-a-snapshot"
            return SnapshotVerification(
                status: nil, findings: [.init(kind: kind, reason: Act.clip(error.message, reasonLimit))],
                totalFindings: 1)
        }
        var first = facts.map { disagreements(report, $0) } ?? []
        if !isRaw, report.sha256 == nil {
            first.append(
                .init(kind: Finding.Kind.trailer.rawValue, reason: "there is no SHA-256 at its end: it was cut off"))
        }
        return summary(report, first)
    }

    /// What of a report is kept. Pure.
    static func summary(
        _ report: SnapshotReport, _ first: [SnapshotVerification.Finding]
    ) -> SnapshotVerification {
        let findings = report.findings.map { finding in
            // In a damaged file any bytes may stand where a bucket's name should be, a Secret's value too.
            SnapshotVerification.Finding(
                kind: finding.kind.rawValue, page: finding.page,
                bucket: finding.bucket.map { bucketNames.contains($0) ? $0 : "(unknown)" },
                reason: Act.clip(finding.reason, reasonLimit))
        }
        var summary = SnapshotVerification(
            status: SnapshotStatus(
                hash: report.hash, revision: report.revision, totalKey: report.totalKey, totalSize: report.totalSize),
            liveKeys: report.liveKeys, hashKV: report.hashKV, hashRevision: report.hashRevision,
            compactRevision: report.compactRevision, clusterVersion: report.clusterVersion.map { Act.clip($0, 64) },
            storageVersion: report.storageVersion.map { Act.clip($0, 64) }, members: report.members.count,
            derivedClusterID: clusterID(report.members), isBumped: report.isBumped,
            leases: report.leases,
            alarms: report.alarms.prefix(alarmLimit).map { "\($0.alarm) of \($0.member)" },
            authEnabled: report.auth.enabled, encryptedAtRest: report.encryptedAtRest,
            findings: Array((first + findings).prefix(findingLimit)),
            totalFindings: report.totalFindings + first.count)
        summary.encryptionKeys = report.encryptionKeys
        summary.holdsKubernetes = report.holdsKubernetes
        summary.oldestKeys = report.oldestKeys.map { oldest in
            .init(births: oldest.births.map { .init(revision: $0.revision, key: $0.key) }, through: oldest.through)
        }
        return summary
    }

    /// The first 8 bytes of SHA-1 over the members' ids in rising order, 8 bytes big-endian each
    /// (etcdserver/membership: `genID`).
    private static func clusterID(_ members: [SnapshotMember]) -> String? {
        let ids = members.compactMap { UInt64($0.id, radix: 16) }.sorted()
        guard !ids.isEmpty, ids.count == members.count else { return nil }
        let digest = SHA1.hash(ids.flatMap { id in (0..<8).map { UInt8(truncatingIfNeeded: id >> (56 - 8 * $0)) } })
        return String(digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }, radix: 16)
    }

    private static let bucketNames: Set<String> = [
        "(root)", "key", "meta", "lease", "alarm", "cluster", "members", "members_removed", "auth", "authUsers",
        "authRoles", "test",
    ]

    /// Where the agent's word, from etcd's own tool, is not what the coordinator reads. Pure.
    static func disagreements(_ report: SnapshotReport, _ facts: SnapshotFacts) -> [SnapshotVerification.Finding] {
        var found: [SnapshotVerification.Finding] = []
        func compare(_ name: String, _ told: some BinaryInteger, _ read: some BinaryInteger, isFine: Bool) {
            guard !isFine else { return }
            found.append(
                .init(kind: "tool", reason: "\(name): \(told) was reported from the node, \(read) is read here"))
        }
        let told = facts.status
        compare("hash", told.hash, report.hash, isFine: told.hash == report.hash)
        compare("revision", told.revision, report.revision, isFine: told.revision == report.revision)
        compare("total size", told.totalSize, report.totalSize, isFine: told.totalSize == report.totalSize)
        // Tools up to 3.5 count every entry, those from 3.6 on the live keys.
        compare(
            "total keys", told.totalKey, report.totalKey,
            isFine: told.totalKey == report.totalKey || told.totalKey == report.liveKeys)
        // The mark of a bumped revision is a key that a client of etcd can't see.
        if let live = facts.liveKeys, let read = report.liveKeys {
            let visible = report.isBumped ? read - 1 : read
            compare("live keys", live, visible, isFine: live == visible)
        }
        return found
    }
}

extension SnapshotRecord {
    /// What the coordinator found wrong with it when it came: how a backup of it fails, and why it is never chosen.
    var unsoundProblem: FleetError? {
        guard let verification, !verification.isSound else { return nil }
        let shown = verification.findings.prefix(3).map { finding in
            let page = finding.page.map { " page \($0)" } ?? ""
            let bucket = finding.bucket.map { " of bucket \($0)" } ?? ""
            return "\(finding.kind)\(page)\(bucket): \(finding.reason)"
        }
        let more = verification.totalFindings - shown.count
        return FleetError(
            .snapshotUnsound,
            "it arrived as it was saved, but is not sound: \(shown.joined(separator: "; "))"
                + (more > 0 ? "; and \(more) more" : ""),
            hint: imported == nil
                ? "it is kept as damaged, and no restore chooses it; back up again, and if that finds the same, the etcd on "
                    + "\(node) has a damaged database: restore it from the last verified snapshot, or replace the member"
                : "it is kept as damaged, and no restore chooses it; import another copy of the file if there is one")
    }
}

extension FleetError.Code {
    /// It is what was saved, and something in it is wrong.
    static let snapshotUnsound: Self = "snapshot-unsound"
}

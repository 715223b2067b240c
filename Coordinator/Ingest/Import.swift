import EtcdSnapshot
import FleetProtocol
import FleetRepository
import FleetSystem

/// Snapshots that a team had before it had this fleet. They go through the same path as an agent's; what an agent would
/// have told is read from the file itself, and what nothing tells stays unknown.
extension Vault {
    /// Nothing of an import outlives its connection: whoever runs it has the file and can run it again.
    ///
    /// - Throws: `not-found` for the cluster, `usage`, `malformed`, `already-exists` naming the snapshot that is the same
    ///   file, `no-space`.
    func begin(_ request: ImportRequest, by actor: String) async throws(FleetError) -> IngestSession {
        _ = try await catalogue.cluster(request.cluster)
        try ImportCheck.check(request, now: await catalogue.now)
        try await catalogue.refuseDuplicate(request.sha256, cluster: request.cluster)
        let id = try await catalogue.newIdentifier()
        // No job has this name, so that a coordinator that starts again throws the rest away.
        let key = "\(id)-import"
        let writer = try await open(key, cluster: request.cluster, node: "import")
        return IngestSession(
            vault: self, writer: writer, key: key, size: request.size,
            settle: { [self] writer, digest throws(FleetError) in
                try await settle(request, id: id, by: actor, writer, digest)
            })
    }

    private func settle(
        _ request: ImportRequest, id: String, by actor: String, _ writer: UploadWriter,
        _ digest: StreamDigest
    ) async throws(FleetError) -> SnapshotRecord {
        let act = Act("snapshot.refuse", by: actor, cluster: request.cluster, subject: id)
        guard digest == StreamDigest(length: request.size, sha256: request.sha256) else {
            try await refuse(
                FleetError(
                    .snapshotDamaged, "the file changed while it was read",
                    hint: "import a copy that nobody writes to"), act, writer)
        }
        let verification = try await verify(
            writer, digest, Announced(size: request.size, isRaw: request.isRawDatabase), act)
        guard let status = verification.status else {
            try await refuse(
                FleetError(
                    .notASnapshot,
                    "\(Names.quote(request.file)) is no etcd snapshot: "
                        + (verification.findings.first?.reason ?? "it can't be read"),
                    hint: "a snapshot is what 'etcdctl snapshot save' writes; nothing was kept"), act, writer)
        }
        // Somebody else may have imported it meanwhile.
        try await catalogue.refuseDuplicate(request.sha256, cluster: request.cluster)
        let known = try await catalogue.identities(request.cluster).map(\.id)
        // What agents don't restore must not be the latest, nor the one verified snapshot that retention always keeps.
        let isOwn = !request.isRawDatabase && verification.derivedClusterID.map(known.contains) ?? false
        if isOwn, verification.isSound, let etcd = verification.derivedClusterID,
            let wrong = try await catalogue.contradiction(
                to: request.savedAt, revision: max(status.revision, verification.compactRevision ?? 0), etcd: etcd,
                cluster: request.cluster)
        {
            try await refuse(wrong, act, writer)
        }
        let record = SnapshotRecord(
            id: id, cluster: request.cluster, node: "", job: "", storedAt: await catalogue.now, size: request.size,
            sha256: request.sha256, facts: ImportCheck.facts(request, status, verification),
            expectedClusterID: isOwn ? nil : known.last ?? "", verification: verification,
            imported: SnapshotImport(by: actor, file: request.file, isRawDatabase: request.isRawDatabase))
        return try await keep(record, writer, by: actor)
    }
}

/// What an import may say, and what is read in place of an agent's word. Pure.
enum ImportCheck {
    static func check(_ request: ImportRequest, now: Timestamp) throws(FleetError) {
        guard (1...FactsCheck.sizeLimit).contains(request.size) else {
            throw FactsCheck.sizeProblem(request.size)
        }
        guard [UInt8](hex: request.sha256)?.count == 32, request.sha256 == request.sha256.lowercased(),
            (1...255).contains(request.file.utf8.count)
        else { throw FleetError(.malformed, "an import whose digest or file name is none") }
        guard request.savedAt <= now.adding(FactsCheck.clockTolerance) else {
            throw FleetError(
                .usage, "\(request.savedAt), when it was saved, is in the future",
                hint: "say when it was saved with --saved-at TIME, for instance --saved-at 2026-11-24T06:55:00Z")
        }
        let rest = request.size % 512
        if request.isRawDatabase, rest != 0 {
            throw FleetError(
                .usage,
                rest == 32
                    ? "the file has etcd's digest at its end, so it is no raw database"
                    : "\(request.size) bytes is no length of a database",
                hint: rest == 32
                    ? "import it without --raw-db, and the digest protects it" : "copy it again from a stopped member")
        }
        if !request.isRawDatabase, rest != 32 {
            throw FleetError(
                rest == 0 ? .usage : "not-a-snapshot",
                "\(request.size) bytes is no length of a snapshot with etcd's digest at its end",
                hint: rest == 0
                    ? "if it is a stopped member's member/snap/db, add --raw-db"
                    : "it is another file, or it was cut off: copy it again; 'fleetctl inspect' looks into it")
        }
    }

    static func facts(
        _ request: ImportRequest, _ status: SnapshotStatus, _ own: SnapshotVerification
    ) -> SnapshotFacts {
        var warnings: [String] = []
        if request.isRawDatabase {
            warnings.append(
                "a raw database: no digest of etcd's protects it, and what its member had only in its log is not in it")
        }
        if own.clusterVersion == nil { warnings.append("nothing in it tells the version of its etcd") }
        return SnapshotFacts(
            status: status, tool: "import", etcdVersion: own.clusterVersion ?? "",
            clusterID: own.derivedClusterID ?? "", memberID: "", memberName: "", size: request.size,
            savedAt: request.savedAt, certificates: [],
            // The mark of a bumped revision is a key that a client of etcd can't see.
            liveKeys: own.liveKeys.map { own.isBumped ? $0 - 1 : $0 }, members: own.members > 0 ? own.members : nil,
            warnings: warnings)
    }
}

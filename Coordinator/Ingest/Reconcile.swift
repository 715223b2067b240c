import FleetProtocol
import FleetRepository
import FleetSystem

/// What store and catalogue did not agree about, and what was done about it.
struct Reconciliation: Sendable, Equatable {
    /// Snapshots of the store that got their row.
    var added: [String] = []
    /// Rows whose file is not there.
    var missing: [String] = []
    /// Rows whose deletion a crash had cut short when the file was gone.
    var deleted: [String] = []
    /// Rows whose file is not what it should be.
    var damaged: [String] = []
    /// Files that a crash left behind, under their new names.
    var orphans: [String] = []
    /// Uploads of jobs that have ended.
    var discarded: [String] = []
    /// Entries of the store that can't be read, or that don't fit what the catalogue has under their id.
    var unknown: [StoreListing.Problem] = []
}

extension Vault {
    /// Brings store and catalogue together. At every start, before agents are let in; on an empty catalogue this is
    /// what rebuilds it. Nothing is deleted but the incoming parts of jobs that have ended.
    func reconcile() async throws(FleetError) -> Reconciliation {
        var done = Reconciliation()
        let (orphans, listing, incoming) = try await blocking { [store] () throws(FleetError) in
            (try store.recover(), try store.list(), try store.incoming())
        }
        if try await catalogue.isBlank(), !listing.records.isEmpty {
            try await catalogue.rebuild(from: listing.records.count)
        }
        done.orphans = orphans
        for path in orphans {
            var event = Act("store.orphan", by: "coordinator", subject: FileSystem.name(of: path))
            event.detail = ["path": path]
            try await catalogue.audit(event)
            log.warning("a crash left a file in the store; it was put aside", ["path": path])
        }
        let conditions = try await catalogue.snapshotConditions()
        for record in listing.records where conditions[record.id] != record.ownCondition {
            do throws(FleetError) {
                if let known = try await catalogue.entry(record.id) {
                    guard known.record == record else {
                        throw FleetError(.alreadyExists, "another snapshot has the id \(record.id)")
                    }
                    // One that is marked stays so for now: a bad block may be part of hundreds, and to read them all
                    // would keep everybody from the sound ones. `lookAgain` does it while the coordinator serves.
                    guard Retirement.reason(of: known) != nil else { continue }
                }
                // New here, or its deletion was cut short: its length alone is not enough to trust it.
                let verdict = try await blocking { [store] () throws(FleetError) in try store.verify(record.id) }
                let damage = verdict.findings.first ?? record.unsoundProblem
                try await catalogue.add(record, reconciled: true, damage: damage, by: "coordinator")
                if let damage {
                    log.error("snapshot is damaged", damage, ["snapshot": record.id])
                    done.damaged.append(record.id)
                } else {
                    done.added.append(record.id)
                }
            } catch {
                // One odd entry is no reason not to start.
                log.error("an entry of the store can't be taken in", error, ["snapshot": record.id])
                done.unknown.append(.init(id: record.id, error: error))
            }
        }
        var problems: [String: FleetError] = [:]
        for problem in listing.problems {
            guard conditions[problem.id] != nil else {
                log.error("an entry of the store can't be read", problem.error, ["snapshot": problem.id])
                done.unknown.append(problem)
                continue
            }
            problems[problem.id] = problem.error
        }
        let present = Set(listing.records.map(\.id))
        for id in conditions.keys.sorted() where !present.contains(id) {
            let problem =
                problems[id] ?? Self.lossProblem(id)
            let condition: SnapshotCondition = problem.code == .notFound ? .missing : .damaged
            do throws(FleetError) {
                if problems[id] == nil, let known = try await catalogue.entry(id),
                    let reason = Retirement.reason(of: known)
                {
                    try await catalogue.forget(known, because: reason, by: "coordinator")
                    log.info("a deletion that was cut short is done", ["snapshot": id])
                    done.deleted.append(id)
                    continue
                }
                try await catalogue.mark(id, condition, problem, endsDeletion: true, by: "coordinator")
                guard conditions[id] != condition else { continue }
                log.error("snapshot is \(condition.rawValue)", problem, ["snapshot": id])
                if condition == .missing { done.missing.append(id) } else { done.damaged.append(id) }
            } catch {
                log.error("the row of a snapshot can't be read", error, ["snapshot": id])
                done.unknown.append(.init(id: id, error: error))
            }
        }
        for key in incoming {
            guard try await !catalogue.awaitsUpload(Self.job(of: key)) else { continue }
            try await blocking { [store] () throws(FleetError) in try store.discard(key) }
            done.discarded.append(key)
        }
        return done
    }

    static func lossProblem(_ id: String) -> FleetError {
        FleetError(
            .notFound, "snapshot \(id) is not in the store",
            hint: "put it back from a copy of the store, then run 'fleetctl store check --read-data'")
    }

    /// Rows whose snapshot has no file, sorted; those that are being deleted are no loss.
    func lost() async throws(FleetError) -> [SnapshotEntry] {
        // In this order: a file comes before its row, and goes before it.
        let rows = try await catalogue.snapshotConditions()
        let there = Set(try await blocking { [store] () throws(FleetError) in try store.ids() })
        var lost: [SnapshotEntry] = []
        for id in rows.keys.sorted() where !there.contains(id) {
            do throws(FleetError) {
                guard let entry = try await catalogue.entry(id), Retirement.reason(of: entry) == nil else { continue }
                // One that rotted is gone for a moment, while an agent's copy takes its place.
                guard entry.condition == rows[id] else { continue }
                lost.append(entry)
            } catch { log.error("the row of a snapshot can't be read", error, ["snapshot": id]) }
        }
        return lost
    }

    /// Looks at all that are marked and are in the store nevertheless: somebody may have put their bytes right. One at a
    /// time; takes as long as reading them.
    ///
    /// - Parameter known: those that need no second look.
    /// - Returns: those that count again.
    func lookAgain(except known: Set<String> = [], by actor: String) async throws(FleetError) -> [String] {
        let listing = try await blocking { [store] () throws(FleetError) in try store.list() }
        let conditions = try await catalogue.snapshotConditions()
        var recovered: [String] = []
        for record in listing.records where conditions[record.id] != record.ownCondition {
            guard !Task.isCancelled else { break }
            guard conditions[record.id] != nil, !known.contains(record.id) else { continue }
            do throws(FleetError) {
                guard try await examine(record.id, by: actor).isSound,
                    try await catalogue.entry(record.id)?.condition == record.ownCondition
                else { continue }
                log.info("a snapshot that was marked is whole", ["snapshot": record.id])
                recovered.append(record.id)
            } catch {
                guard !Task.isCancelled else { break }
                log.error("a snapshot that is marked could not be looked at", error, ["snapshot": record.id])
            }
        }
        return recovered
    }

    /// Reads a snapshot whole and records what was found.
    func examine(_ id: String, by actor: String) async throws(FleetError) -> StoreVerdict {
        let known = try await catalogue.snapshot(id)
        let record = known.record
        let verdict: StoreVerdict = try await examinations.take { [store] () throws(FleetError) in
            do throws(FleetError) {
                let verdict = try store.verify(id)
                guard verdict.isSound, try store.open(id).record != record else { return verdict }
                return StoreVerdict(findings: [
                    FleetError(.snapshotDamaged, "what the store has as \(id) is another snapshot")
                ])
            } catch {
                if error.code == .notFound { return StoreVerdict(findings: [error]) }
                throw error
            }
        }
        if let first = verdict.findings.first {
            try await catalogue.mark(
                id, first.code == .notFound ? .missing : .damaged, first, since: known, by: actor)
        } else {
            try await catalogue.mark(id, record.ownCondition, record.ownProblem, since: known, by: actor)
        }
        return verdict
    }
}

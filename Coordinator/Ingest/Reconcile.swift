import FleetProtocol
import FleetSystem

/// What store and catalogue did not agree about, and what was done about it.
struct Reconciliation: Sendable, Equatable {
    /// Snapshots of the store that got their row.
    var added: [String] = []
    /// Rows whose file is not there.
    var missing: [String] = []
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
                // New here, or missing or damaged before: its length alone is not enough to trust it.
                let verdict = try await blocking { [store] () throws(FleetError) in try store.verify(record.id) }
                let damage = verdict.findings.first ?? record.unsoundProblem
                guard damage == nil || conditions[record.id] != .damaged else { continue }
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
                problems[id]
                ?? FleetError(
                    .notFound, "snapshot \(id) is not in the store", hint: "put it back from a copy of the store")
            let condition: SnapshotCondition = problem.code == .notFound ? .missing : .damaged
            do throws(FleetError) {
                try await catalogue.mark(id, condition, problem, by: "coordinator")
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

    /// Reads a snapshot whole and records what was found.
    func examine(_ id: String, by actor: String) async throws(FleetError) -> StoreVerdict {
        let known = try await catalogue.snapshot(id)
        let verdict: StoreVerdict = try await blocking { [store] () throws(FleetError) in
            do throws(FleetError) { return try store.verify(id) } catch {
                if error.code == .notFound { return StoreVerdict(findings: [error]) }
                throw error
            }
        }
        if let first = verdict.findings.first {
            try await catalogue.mark(id, first.code == .notFound ? .missing : .damaged, first, by: actor)
        } else {
            let record = known.record
            try await catalogue.mark(id, record.ownCondition, record.ownProblem, by: actor)
        }
        return verdict
    }
}

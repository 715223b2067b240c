import FleetCrypto
import FleetProtocol
import FleetSQLite
import FleetSystem

extension FleetError.Code {
    /// Of a row whose files are being removed: their absence is meant.
    static let beingDeleted: Self = "being-deleted"
}

/// A row between the first and the last step of its deletion. It tells why, so that whoever ends the deletion after a
/// crash can say it too.
enum Retirement {
    private static let words = "it is being deleted: "

    static func problem(because reason: String) -> FleetError {
        FleetError(.beingDeleted, words + reason, hint: "choose another one")
    }

    /// nil: it is not being deleted.
    static func reason(of entry: SnapshotEntry) -> String? {
        guard entry.condition == .missing, let problem = entry.problem, problem.code == .beingDeleted else {
            return nil
        }
        return String(problem.message.dropFirst(words.count))
    }
}

extension Vault {
    /// Deletes a snapshot for good: first nobody chooses it any more, then its files go, then its row. Its space comes
    /// back when the store is collected.
    ///
    /// - Parameter newestToo: also the newest verified one, where its cluster has no agent that could make another.
    /// - Throws: `not-found`; `conflict` for one that is pinned, that an open restore needs, or that is the newest
    ///   verified one of its cluster.
    func delete(
        _ id: String, because reason: String, newestToo: Bool = false, by actor: String
    ) async throws(FleetError) {
        let entry = try await catalogue.retire(id, because: reason, newestToo: newestToo, by: actor)
        do throws(FleetError) {
            try await blocking { [store] () throws(FleetError) in try store.delete(id) }
        } catch {
            // Where it is still there, readable or not, it is what it was. Where that can't be learnt too: if it is gone,
            // a check finds it missing, while a row that is being deleted for ever would be chosen, and marked, by nobody.
            let isGone = try? await blocking { [store] () throws(FleetError) in try !store.ids().contains(id) }
            // What it was before is known to whoever retired it first.
            if isGone != true, Retirement.reason(of: entry) == nil {
                try await catalogue.mark(id, entry.condition, entry.problem, endsDeletion: true, by: actor)
            }
            throw error
        }
        try await catalogue.forget(entry, because: reason, by: actor)
    }

    /// Decides by the cluster's policy and, if that is what was `confirmed`, deletes. What can't be deleted is said in its
    /// line and keeps nothing else from being deleted.
    ///
    /// - Parameter confirmed: the digest of an earlier reply; nil: only decide.
    /// - Throws: `not-found`; `usage` for a cluster without a policy; `conflict` when something else would be deleted now.
    func applyRetention(
        _ cluster: String, confirmed: String?, by actor: String
    ) async throws(FleetError) -> RetentionReply {
        guard let policy = try await catalogue.retentionsInForce(cluster).first?.policy else {
            throw FleetError(
                .usage, "cluster \(cluster) has no retention policy, so everything is kept",
                hint: "set one: fleetctl retention set \(cluster) --keep-last 7 --keep-daily 14")
        }
        let decisions = Retention.decide(try await catalogue.restorePoints(cluster), policy)
        let doomed = decisions.filter { !$0.isKept }.map(\.point.id)
        var reply = RetentionReply(
            cluster: cluster, policy: policy, lines: [],
            digest: SHA256.hash(Array(doomed.joined(separator: "\n").utf8)).hex)
        guard confirmed == nil || confirmed == reply.digest else {
            throw FleetError(
                .conflict,
                "what would be deleted of \(cluster) has changed since it was shown; nothing of \(cluster) was deleted",
                hint: "look again: fleetctl retention apply \(cluster)")
        }
        for decision in decisions {
            var line = RetentionReply.Line(
                snapshot: decision.point.id, savedAt: decision.point.time, isKept: decision.isKept,
                reasons: decision.reasons)
            if !decision.isKept, confirmed != nil {
                let reason = "retention (\(policy.text)): \(decision.reasons.joined(separator: ", "))"
                do throws(FleetError) { try await delete(decision.point.id, because: reason, by: actor) } catch {
                    log.error("a snapshot could not be deleted", error, ["snapshot": decision.point.id])
                    line.problem = error
                }
            }
            reply.lines.append(line)
        }
        return reply
    }
}

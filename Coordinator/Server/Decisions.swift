import FleetProtocol
import FleetSystem

extension FleetError.Code {
    /// A job whose restore was taken back before the agent had begun it.
    static let recalled: Self = "recalled"
}

/// Restores of several members: what was decided goes to their agents, and phases that take too long are noticed.
extension CoordinatorServer {
    /// Tells a member what was decided last, if it is connected and does not know it. If not, its next registration or
    /// the next tick does.
    func decide(_ job: String) async {
        do throws(FleetError) {
            let node = try await catalogue.owner(job)
            guard let connection = await sessions.connection(node),
                let decision = try await catalogue.nextDecision(job)
            else { return }
            let request = DecideRequest(envelope: try keys.signer.sign(decision))
            // What it answered to an earlier one says nothing of this one.
            heard.withLock { $0[job] = nil }
            let reply: DecideReply
            do throws(FleetError) { reply = try await connection.call(Method.decide, request) } catch {
                if await connection.isClosed { return }
                throw error
            }
            heard.withLock { $0[job] = connection }
            guard !reply.begun else { return }
            let refusal = FleetError(
                .recalled, "the restore was taken back before it began here", hint: "nothing was changed on the node")
            await carryOut([try await catalogue.answered(job, refusal: refusal)])
        } catch { log.with("job", job).error("a decision could not be told, and will be again", error) }
    }

    /// Tells members of restores that ended as stuck, until they have answered. Who has on this connection knows it.
    func remind() async throws(FleetError) {
        let stuck = try await catalogue.stuckParts()
        heard.withLock { heard in heard = heard.filter { stuck.contains($0.key) } }
        for job in stuck {
            let node = try await catalogue.owner(job)
            guard let connection = await sessions.connection(node), heard.withLock({ $0[job] !== connection }) else {
                continue
            }
            Task { await self.decide(job) }
        }
    }

    /// A cluster is down while a phase takes too long: a second is soon enough, and half a minute is not.
    func watchDeadlines() async {
        while !Task.isCancelled {
            do throws(FleetError) { await carryOut(try await catalogue.overdueRestores()) } catch {
                log.error("the deadlines of restores could not be looked at", error)
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }
}

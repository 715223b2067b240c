import FleetProtocol
import FleetSystem

/// What an operator may ask about how long snapshots are kept.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveRetention(_ stream: FleetProtocol.Stream, _ who: Principal) async throws(FleetError) -> Bool {
        let actor = who.actor
        func request<Request: Decodable>(_ type: Request.Type) throws(FleetError) -> Request {
            try JSON.decode(type, from: stream.request)
        }
        switch stream.method {
        case ControlMethod.setRetention:
            let wanted = try request(RetentionRecord.self)
            try await catalogue.setRetention(
                wanted.cluster, wanted.policy, keepsAll: wanted.policy == nil && wanted.keepsAll != false, by: actor)
            try await stream.finish(try await catalogue.retentionsInForce(wanted.cluster)[0])
        case ControlMethod.listRetention:
            let all = try await catalogue.retentionsInForce(try request(ListRequest.self).cluster)
            try await stream.finish(all.filter { who.scope.contains($0.cluster) })
        case ControlMethod.applyRetention:
            let run = try request(RetentionRunRequest.self)
            try await stream.finish(try await vault.applyRetention(run.cluster, confirmed: run.confirmed, by: actor))
        case ControlMethod.pinSnapshot:
            let pin = try request(PinRequest.self)
            // What nobody holds any more is deleted by the next backup.
            if !pin.pinned { try who.need(.admin, "unpinning a snapshot") }
            let id = try await catalogue.findSnapshot(pin.name, in: who.scope).record.id
            try await stream.finish(try await catalogue.pin(id, pin.pinned, by: actor))
        case ControlMethod.deleteSnapshot:
            let wanted = try request(DeletionRequest.self)
            let entry = try await catalogue.findSnapshot(wanted.name, in: who.scope)
            try await vault.delete(
                entry.record.id, because: "by request", newestToo: wanted.newestToo == true, by: actor)
            try await stream.finish(entry)
        default: return false
        }
        return true
    }
}

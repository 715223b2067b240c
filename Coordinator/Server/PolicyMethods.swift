import FleetProtocol
import FleetSystem

/// What an operator may ask about what happens by itself.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func servePolicy(_ stream: FleetProtocol.Stream, _ who: Principal) async throws(FleetError) -> Bool {
        let actor = who.actor
        func request<Request: Decodable>(_ type: Request.Type) throws(FleetError) -> Request {
            try JSON.decode(type, from: stream.request)
        }
        switch stream.method {
        case ControlMethod.labelCluster:
            try await stream.finish(try await catalogue.label(try request(LabelRequest.self), by: actor))
        case ControlMethod.listPolicies:
            try await stream.finish(try await catalogue.policies(in: who.scope))
        case ControlMethod.setPolicy:
            try await stream.finish(try await catalogue.setPolicy(try request(FleetPolicy.self), by: actor))
        case ControlMethod.removePolicy:
            try await stream.finish(try await catalogue.removePolicy(try request(NameRequest.self).name, by: actor))
        case ControlMethod.applyPolicies:
            try await stream.finish(try await catalogue.applyPolicies(try request(PolicySet.self), by: actor))
        default: return false
        }
        return true
    }
}

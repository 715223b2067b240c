import FleetCrypto
import FleetProtocol
import FleetSystem

extension CoordinatorServer {
    /// Whom `identify` did not let in, and what was wanted.
    func recordTurnedAway(_ stream: FleetProtocol.Stream, _ error: FleetError) async {
        let actor: String
        switch (await stream.connection.peer, error.code) {
        case (.anonymous, .permissionDenied): actor = "stranger"
        case (.user(let user), .permissionDenied): actor = "user:\(user)"
        case (.certificate(let certificate), .certificateUnknown),
            (.certificate(let certificate), .certificateRevoked), (.certificate(let certificate), .certificateExpired):
            actor = "certificate:\(certificate.fingerprint)"
        default: return
        }
        var act = Act("identify", by: actor)
        act.detail["method"] = Act.clip(stream.method, 64)
        await catalogue.turnedAway(act, error)
    }
}

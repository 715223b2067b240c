import FleetCrypto
import FleetProtocol
import FleetSystem

extension CoordinatorServer {
    /// Whom `identify` did not let in, and who asked for what is not for the likes of them, and what was wanted.
    func recordTurnedAway(_ stream: FleetProtocol.Stream, _ error: FleetError) async {
        var act: Act
        switch (await stream.connection.peer, error.code) {
        case (.anonymous, .permissionDenied): act = Act("identify", by: "stranger")
        case (.user(let user), .permissionDenied): act = Act("identify", by: "user:\(user)")
        case (.certificate(let certificate), .certificateUnknown),
            (.certificate(let certificate), .certificateRevoked), (.certificate(let certificate), .certificateExpired):
            act = await holder(certificate, "identify")
            act.detail["certificate"] = certificate.fingerprint
            // A node that nobody uses any more comes each minute, for years.
            let isKnown = !act.actor.hasPrefix("certificate:")
            if isKnown, !turnedAway.withLock({ $0.isFirst(certificate.fingerprint, at: .now()) }) { return }
        case (.certificate(let certificate), .unknownMethod):
            act = await holder(certificate, "request")
            // What a newer operator's program asks for is no overreach.
            guard act.actor.hasPrefix("agent:") else { return }
        default: return
        }
        act.detail["method"] = Act.clip(stream.method, 64)
        await catalogue.turnedAway(act, error, budget: act.action == "request" ? act.actor : nil)
    }

    /// Behind the answer: who has a certificate that is good no more is not connected, whatever was said on it before.
    func endIfTurnedAway(_ connection: Connection, _ error: FleetError) async {
        guard case .certificate = await connection.peer, error.isTurnedAway else { return }
        await connection.close(error)
    }

    /// A job that is given to who was the node before could be carried out and never told of.
    func endFormer(_ node: NodeName) async {
        await sessions.close(
            node,
            FleetError(
                .certificateRevoked, "\(node) was enrolled anew",
                hint: "restart its agent: systemctl restart fleet-agent"))
    }

    /// Who was revoked is known by name; a certificate that was never given out, only by what it is.
    private func holder(_ certificate: X509Certificate, _ action: String) async -> Act {
        if let grant = try? await catalogue.holder(fingerprint: certificate.fingerprint), certificate.names(grant) {
            switch grant {
            case .agent(let cluster, let node):
                return Act(action, by: "agent:\(cluster)/\(node)", cluster: cluster, subject: node)
            case .operator(let name): return Act(action, by: "operator:\(name)")
            }
        }
        return Act(action, by: "certificate:\(certificate.fingerprint)")
    }
}

/// When somebody who is known was turned away last, by fingerprint: what they try again and again is told once an hour.
struct TurnedAway: Sendable {
    private static let pause = Duration.seconds(3600)
    private var last: [String: Timestamp] = [:]

    /// Whether it is to be told, and from now on is.
    mutating func isFirst(_ fingerprint: String, at now: Timestamp) -> Bool {
        if let told = last[fingerprint], told <= now, now.since(told) < Self.pause { return false }
        last[fingerprint] = now
        return true
    }
}

extension FleetError {
    /// What `identify` says of a certificate that is good no more.
    var isTurnedAway: Bool { [.certificateUnknown, .certificateRevoked, .certificateExpired].contains(code) }
}

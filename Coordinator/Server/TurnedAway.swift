import FleetCrypto
import FleetProtocol
import FleetSystem

extension CoordinatorServer {
    /// Whom `identify` did not let in, and what was wanted.
    func recordTurnedAway(_ stream: FleetProtocol.Stream, _ error: FleetError) async {
        var act: Act
        switch (await stream.connection.peer, error.code) {
        case (.anonymous, .permissionDenied): act = Act("identify", by: "stranger")
        case (.user(let user), .permissionDenied): act = Act("identify", by: "user:\(user)")
        case (.certificate(let certificate), .certificateUnknown),
            (.certificate(let certificate), .certificateRevoked), (.certificate(let certificate), .certificateExpired):
            act = await holder(certificate)
            act.detail["certificate"] = certificate.fingerprint
        default: return
        }
        act.detail["method"] = Act.clip(stream.method, 64)
        await catalogue.turnedAway(act, error)
    }

    /// Behind the answer: who has a certificate that is good no more is not connected, whatever was said on it before.
    func endIfTurnedAway(_ connection: Connection, _ error: FleetError) async {
        guard case .certificate = await connection.peer,
            [.certificateUnknown, .certificateRevoked, .certificateExpired].contains(error.code)
        else { return }
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
    private func holder(_ certificate: X509Certificate) async -> Act {
        if let grant = try? await catalogue.holder(fingerprint: certificate.fingerprint), certificate.names(grant) {
            switch grant {
            case .agent(let cluster, let node):
                return Act("identify", by: "agent:\(cluster)/\(node)", cluster: cluster, subject: node)
            case .operator(let name): return Act("identify", by: "operator:\(name)")
            }
        }
        return Act("identify", by: "certificate:\(certificate.fingerprint)")
    }
}

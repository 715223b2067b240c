import FleetCrypto
import FleetProtocol
import FleetSystem

/// When a certificate is renewed. Pure.
enum RenewalTime {
    /// Two thirds of its life: a fleet that nobody looks at for months has the last third to find out why it was not.
    static func isDue(_ notBefore: Timestamp, _ notAfter: Timestamp, now: Timestamp) -> Bool {
        now >= notBefore.adding(notAfter.since(notBefore) * 2 / 3)
    }
}

extension AgentLink {
    /// Looks after the certificate as long as `connection` lasts, and ends with it when there is another one. What runs is
    /// not disturbed: the next connection is made when no job is open.
    func keepCertificate(on connection: Connection, of runner: JobRunner, in directory: String) async {
        // A clock that jumps, and a life of minutes, must not make it ask again and again.
        var pause = Duration.seconds(10)
        while !Task.isCancelled {
            do { try await Task.sleep(for: pause) } catch { return }
            pause = .seconds(60)
            guard RenewalTime.isDue(identity.notBefore, identity.notAfter, now: .now()) else { continue }
            guard await runner.activeJobs.isEmpty else { continue }
            do throws(FleetError) {
                let renewed = try await renew(on: connection, in: directory)
                adopt(renewed)
                log.info("the certificate was renewed", ["until": "\(renewed.notAfter)"])
                return await connection.close(FleetError("renewed", "the certificate was renewed", retryable: true))
            } catch {
                if await connection.isClosed { return }
                log.error("the certificate, good until \(identity.notAfter), could not be renewed", error)
                pause = .seconds(3600)
            }
        }
    }

    private func renew(on connection: Connection, in directory: String) async throws(FleetError) -> AgentIdentity {
        let key = try PrivateKey.generateP256()
        let request = RenewRequest(request: try CertificateRequest(key: key, commonName: identity.node).pem)
        let reply: EnrollReply = try await connection.call(Method.renew, request)
        let certificate = try X509Certificate(pem: reply.certificate)
        let authority = identity.authority
        guard certificate.isSigned(by: authority), certificate.belongs(to: key), certificate.notAfter > .now() else {
            throw FleetError(.untrusted, "the coordinator answered with a certificate that is not ours")
        }
        return try await onDisk { () throws(FleetError) in
            try AgentIdentity.renew(key, reply.certificate, in: directory)
        }
    }
}

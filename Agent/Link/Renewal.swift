import FleetCrypto
import FleetProtocol
import FleetSystem

/// When a certificate is renewed. Pure.
enum RenewalTime {
    /// From two thirds of its life on: a fleet that nobody looks at for months has the last third to find out why it was not.
    /// A node that is never without a job is let finish for half of that.
    static func isDue(_ notBefore: Timestamp, _ notAfter: Timestamp, isIdle: Bool, now: Timestamp) -> Bool {
        let life = notAfter.since(notBefore)
        return notAfter.since(now) <= (isIdle ? life / 3 : life / 6)
    }

    /// Until it is tried again: ten times in what is left, and never in a hurry.
    static func pause(_ notAfter: Timestamp, now: Timestamp) -> Duration {
        min(.seconds(3600), max(.seconds(10), notAfter.since(now) / 10))
    }
}

extension AgentLink {
    /// Looks after the certificate as long as `connection` lasts, and ends with it when there is another one.
    func keepCertificate(on connection: Connection, of runner: JobRunner) async {
        var pause = Duration.seconds(10)
        // Another authority's word was not good: it is not asked for again on this connection.
        var isRefused = false
        while !Task.isCancelled {
            do { try await Task.sleep(for: pause) } catch { return }
            pause = min(.seconds(60), RenewalTime.pause(identity.notAfter, now: .now()))
            let isIdle = await runner.activeJobs.isEmpty
            let isDue = RenewalTime.isDue(identity.notBefore, identity.notAfter, isIdle: isIdle, now: .now())
            let next = isIdle && !isRefused ? announced : nil
            guard isDue || next != nil else { continue }
            do throws(FleetError) {
                adopt(try await renewed(on: connection, for: isDue ? nil : next))
                log.info("the certificate was renewed", ["until": "\(identity.notAfter)"])
                return await connection.close(
                    FleetError("renewed", "the certificate was renewed", retryable: true))
            } catch {
                if await connection.isClosed { return }
                log.error("the certificate, good until \(identity.notAfter), could not be renewed", error)
                isRefused = isRefused || next != nil && !error.isRetryable
                pause = RenewalTime.pause(identity.notAfter, now: .now())
            }
        }
    }

    /// - Parameter announced: the authority that it is renewed for, before it is due. Only the job key's word for just that one
    ///   counts: whoever has a former authority's key could have a young certificate replaced by one that is of no use.
    private func renewed(on connection: Connection, for announced: String?) async throws(FleetError) -> AgentIdentity {
        let identity = self.identity
        let disk = try await onDisk { () throws(FleetError) in
            try AgentIdentity.description(in: identity.directory)
        }
        // A renewal that failed behind its last write is there already.
        if disk != identity.description, disk.isSameAgent(as: identity.description) {
            return try await onDisk { () throws(FleetError) in try AgentIdentity(directory: identity.directory) }
        }
        let key = try PrivateKey.generateP256()
        let request = RenewRequest(request: try CertificateRequest(key: key, commonName: identity.node).pem)
        let reply: EnrollReply = try await connection.call(Method.renew, request)
        let certificate = try X509Certificate(pem: reply.certificate)
        // Whom this node obeys says who vouches for that from now on.
        let next = try reply.statement.map { envelope throws(FleetError) in
            try X509Certificate(pem: try envelope.authority(verifiedBy: identity.jobKey).authority)
        }
        guard announced == nil || next?.fingerprint == announced, certificate.isSigned(by: next ?? identity.authority),
            certificate.belongs(to: key)
        else {
            throw FleetError(.untrusted, "the coordinator answered with a certificate that is not ours")
        }
        if let next { log.info("the fleet has another authority", ["fingerprint": next.fingerprint]) }
        return try await onDisk { () throws(FleetError) in try identity.renewed(key, reply.certificate, under: next) }
    }
}

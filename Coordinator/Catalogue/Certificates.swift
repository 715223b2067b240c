import FleetProtocol
import FleetSQLite
import FleetSystem

extension FleetError.Code {
    /// The certificate was signed by the fleet's authority and is not in the inventory.
    static let certificateUnknown: Self = "certificate-unknown"
    static let certificateRevoked: Self = "certificate-revoked"
    static let certificateExpired: Self = "certificate-expired"
}

/// A certificate of a node or of a person: which of the two is not known where it is refused.
let newCertificate =
    "a person logs in again ('fleetctl login -', token from 'fleetctl operator token NAME'); a node enrols again "
    + "('fleet-agent enroll --force -', token from 'fleetctl agent token CLUSTER')"

extension Catalogue {
    /// Who a client certificate belongs to. The handshake has proven that our authority signed it; this says that it
    /// is one that was given out, and still stands.
    ///
    /// - Throws: `certificate-unknown`, `certificate-revoked`, `certificate-expired`.
    func identify(fingerprint: String) throws(FleetError) -> Grant {
        guard let found = try issued(fingerprint) else {
            throw FleetError(.certificateUnknown, "this certificate is not known here", hint: newCertificate)
        }
        if let revoked = found.revoked {
            throw FleetError(
                .certificateRevoked, "this certificate was revoked at \(revoked)",
                hint: "if that was a mistake: \(newCertificate)")
        }
        guard now < found.notAfter else {
            throw FleetError(
                .certificateExpired, "this certificate expired at \(found.notAfter)",
                hint: newCertificate)
        }
        return found.grant
    }

    /// Whose a certificate is or was, whatever became of it since; nil where it was never given out.
    func holder(fingerprint: String) throws(FleetError) -> Grant? { try issued(fingerprint)?.grant }

    private func issued(
        _ fingerprint: String
    ) throws(FleetError) -> (grant: Grant, notAfter: Timestamp, revoked: Timestamp?)? {
        try db.first("SELECT * FROM certificates WHERE fingerprint = ?", fingerprint) { row throws(FleetError) in
            let cluster: String? = try row["cluster"]
            let node: String? = try row["node"]
            let name: String? = try row["operator"]
            let grant: Grant = cluster.map { .agent(cluster: $0, node: node ?? "") } ?? .operator(name: name ?? "")
            return (grant: grant, notAfter: try row["not_after"], revoked: try row["revoked"])
        }
    }

    /// Revokes every certificate of an agent or an operator, and the tokens of an operator that nobody has used yet, those for
    /// nodes included that they made; the number of certificates that stood.
    ///
    /// - Throws: `not-found` where neither stood.
    func revoke(_ grant: Grant, by actor: String) throws(FleetError) -> Int {
        var event = Act("certificate.revoke", by: actor)
        let condition: String
        let values: (String, String)
        switch grant {
        case .agent(let cluster, let node):
            (event.cluster, event.subject) = (cluster, node)
            (condition, values) = ("cluster = ? AND node = ?", (cluster, node))
        case .operator(let name):
            event.subject = name
            (condition, values) = ("operator = ? AND operator = ?", (name, name))
        }
        return try act(event) { event throws(FleetError) in
            let count = try db.run(
                "UPDATE certificates SET revoked = ? WHERE revoked IS NULL AND \(condition)", now, values.0, values.1)
            var tokens = 0
            // Of a node that was turned out only what snapshots have is kept.
            if case .agent(let cluster, let node) = grant {
                try db.run("DELETE FROM node_bundles WHERE cluster = ? AND node = ?", cluster, node)
            }
            if case .operator(let name) = grant {
                tokens = try db.run(
                    "UPDATE join_tokens SET used = ?1 WHERE name = ?2 AND used IS NULL AND expires > ?1", now, name)
                tokens += try takeBackNodeTokens(madeBy: name)
            }
            guard count + tokens > 0 else {
                throw FleetError(
                    .notFound, "\(Names.quote(event.subject ?? "")) has no certificate that could be revoked")
            }
            event.detail["count"] = String(count)
            if tokens > 0 { event.detail["tokens"] = String(tokens) }
            return count
        }
    }

    /// Another certificate for a node whose present one stands. That stays good until the new one is used: the answer may
    /// never arrive. What was asked for before, and was not used either, did not arrive.
    ///
    /// - Parameters:
    ///   - fingerprint: of the certificate that asks.
    ///   - isOfFormerAuthority: it is to be replaced, however young.
    func renew<Issued: Sendable>(
        _ node: NodeName, holding fingerprint: String, isOfFormerAuthority: Bool = false,
        issue: @Sendable (Grant) throws(FleetError) -> (CertificateRecord, Issued)
    ) throws(FleetError) -> Issued {
        try act(Act("certificate.renew", by: "agent:\(node)", cluster: node.cluster, subject: node.node)) {
            event throws(FleetError) in
            try checkRenewable(node, fingerprint, isOfFormerAuthority)
            try db.run(
                """
                UPDATE certificates SET revoked = ?1 WHERE revoked IS NULL AND cluster = ?2 AND node = ?3
                    AND rowid > (SELECT rowid FROM certificates WHERE fingerprint = ?4)
                """, now, node.cluster, node.node, fingerprint)
            let grant = Grant.agent(cluster: node.cluster, node: node.node)
            let (certificate, issued) = try issue(grant)
            try insert(certificate, for: grant)
            event.detail["fingerprint"] = certificate.fingerprint
            event.detail["notAfter"] = certificate.notAfter.description
            return issued
        }
    }

    /// In the transaction that gives out another one: who asks may have been revoked, or its node enrolled again, a moment ago.
    private func checkRenewable(
        _ node: NodeName, _ fingerprint: String, _ isOfFormerAuthority: Bool
    ) throws(FleetError) {
        guard try identify(fingerprint: fingerprint) == .agent(cluster: node.cluster, node: node.node) else {
            throw FleetError(.certificateUnknown, "this certificate is another node's", hint: newCertificate)
        }
        guard !isOfFormerAuthority else { return }
        let life = try db.first("SELECT issued, not_after FROM certificates WHERE fingerprint = ?", fingerprint) {
            row throws(FleetError) -> (issued: Timestamp, end: Timestamp) in (try row["issued"], try row["not_after"])
        }
        // An agent whose clock is ahead finds each one due at once.
        guard let life, now.since(life.issued) >= life.end.since(life.issued) / 10 else {
            throw FleetError(
                .busy, "the certificate was renewed a moment ago", hint: "see whether the node's clock is right",
                retryable: true)
        }
    }

    /// A node has come with this certificate: those before it are not needed any more.
    func retireCertificates(of node: NodeName, before fingerprint: String) throws(FleetError) {
        let older = """
            revoked IS NULL AND cluster = ?1 AND node = ?2
                AND rowid < (SELECT rowid FROM certificates WHERE fingerprint = ?3 AND revoked IS NULL)
            """
        let count: Int? = try db.first(
            "SELECT count(*) AS count FROM certificates WHERE \(older)", node.cluster, node.node, fingerprint
        ) { row throws(FleetError) in try row["count"] }
        guard count ?? 0 > 0 else { return }
        var event = Act("certificate.retire", by: "coordinator", cluster: node.cluster, subject: node.node)
        event.detail["inUse"] = fingerprint
        try act(event) { event throws(FleetError) in
            let retired = try db.run(
                "UPDATE certificates SET revoked = ?4 WHERE \(older)", node.cluster, node.node, fingerprint, now)
            event.detail["count"] = String(retired)
        }
    }

    /// Who would not be let in, if only this authority's certificates were good: agents as CLUSTER/NODE, and operators. A
    /// certificate of an agent that is in use retires those before it.
    func notYet(under authority: String) throws(FleetError) -> (agents: [String], operators: [String]) {
        let standing = "revoked IS NULL AND not_after > ?1 AND coalesce(authority, '') <> ?2"
        let agents: [String] = try db.all(
            """
            SELECT DISTINCT cluster || '/' || node AS name FROM certificates
            WHERE \(standing) AND role = 'agent' ORDER BY name
            """, now, authority
        ) { row throws(FleetError) in try row["name"] }
        let operators: [String] = try db.all(
            """
            SELECT DISTINCT operator AS name FROM certificates c WHERE \(standing) AND role = 'operator'
                AND NOT EXISTS (SELECT 1 FROM certificates n WHERE n.operator = c.operator AND n.revoked IS NULL
                    AND n.authority = ?2) ORDER BY name
            """, now, authority
        ) { row throws(FleetError) in try row["name"] }
        return (agents, operators)
    }

    /// Inside a transaction.
    func insert(_ certificate: CertificateRecord, for grant: Grant) throws(FleetError) {
        let role: Role
        var owner: (cluster: String?, node: String?, name: String?) = (nil, nil, nil)
        switch grant {
        case .agent(let cluster, let node): (role, owner.cluster, owner.node) = (.agent, cluster, node)
        case .operator(let name): (role, owner.name) = (.operator, name)
        }
        try db.run(
            """
            INSERT INTO certificates (fingerprint, serial, role, cluster, node, operator, issued, not_after, authority)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """, certificate.fingerprint, certificate.serial, role.rawValue, owner.cluster, owner.node, owner.name,
            certificate.issued, certificate.notAfter, certificate.authority)
    }
}

extension SQLiteRow {
    /// The columns of a certificate that was joined; nil where there is none.
    func certificate() throws(FleetError) -> CertificateRecord? {
        let fingerprint: String? = try self["fingerprint"]
        guard let fingerprint else { return nil }
        var certificate = CertificateRecord(
            fingerprint: fingerprint, serial: try self["serial"], issued: try self["issued"],
            notAfter: try self["not_after"], revoked: try self["revoked"])
        certificate.authority = try self["authority"]
        return certificate
    }
}

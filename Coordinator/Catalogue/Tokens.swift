import FleetCrypto
import FleetProtocol
import FleetSQLite
import FleetSystem

extension FleetError.Code {
    static let tokenUnknown: Self = "token-unknown"
    static let tokenUsed: Self = "token-used"
    static let tokenExpired: Self = "token-expired"
}

/// What a join token lets its holder become.
enum Grant: Sendable, Equatable {
    case agent(cluster: String, node: String)
    case `operator`(name: String)

    var role: Role {
        switch self {
        case .agent: .agent
        case .operator: .operator
        }
    }
}

/// What an enrolment gives: who the certificate is for, and whatever `issue` made.
struct Enrolment<Issued: Sendable>: Sendable {
    var grant: Grant
    var issued: Issued
}

extension Catalogue {
    /// - Parameters:
    ///   - secret: the token's random part. Only its SHA-256 is kept: whoever reads the catalogue can't enrol.
    ///   - name: for an operator, the name that its certificate will carry.
    /// - Returns: when it expires.
    /// - Throws: `not-found` for a cluster or an operator that is not there.
    func createToken(
        secret: String, role: Role, cluster: String? = nil, name: String? = nil, lifetime: Duration, by actor: String
    ) throws(FleetError) -> Timestamp {
        let (cluster, name) = (role == .agent ? cluster : nil, role == .operator ? name : nil)
        let expires = now.adding(lifetime)
        try act(Act("token.create", by: actor, cluster: cluster, subject: name)) {
            event throws(FleetError) in
            event.detail["role"] = role.rawValue
            event.detail["expires"] = expires.description
            switch role {
            case .agent:
                let cluster = cluster ?? ""
                guard try clusterExists(cluster) else { throw try unknownCluster(cluster) }
            case .operator: _ = try knownOperator(name ?? "")
            }
            try db.run(
                """
                INSERT INTO join_tokens (hash, role, cluster, name, created, created_by, expires)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """, Self.hash(secret), role.rawValue, cluster, name, now, actor, expires)
        }
        return expires
    }

    /// Uses a token up and records the certificate that `issue` makes for it, all in one transaction: a token is not
    /// spent on an enrolment that failed, and is never spent twice.
    ///
    /// - Parameters:
    ///   - name: the host's name for an agent; ignored for an operator.
    ///   - issue: makes and signs the certificate. It runs on the catalogue's thread and must not take long.
    /// - Throws: `token-unknown`, `token-used`, `token-expired`, `malformed`; what `issue` throws.
    func enrol<Issued: Sendable>(
        secret: String, name: String, from peer: String,
        issue: @Sendable (Grant) throws(FleetError) -> (CertificateRecord, Issued)
    ) throws(FleetError) -> Enrolment<Issued> {
        var event = Act("enrol", by: "token", subject: Names.isValid(name) ? name : nil)
        event.detail["peer"] = peer
        return try act(event, isStranger: true) { event throws(FleetError) in
            let grant = try redeem(secret, name: name, &event)
            switch grant {
            case .agent(let cluster, let node):
                try enrolNode(cluster: cluster, node: node)
                // A node has one certificate that stands: with two, two machines could answer for it.
                let replaced = try db.run(
                    "UPDATE certificates SET revoked = ? WHERE revoked IS NULL AND cluster = ? AND node = ?", now,
                    cluster, node)
                if replaced > 0 { event.detail["replacedCertificates"] = String(replaced) }
            case .operator(let name): _ = try knownOperator(name)
            }
            let (certificate, issued) = try issue(grant)
            try insert(certificate, for: grant)
            event.detail["fingerprint"] = certificate.fingerprint
            event.detail["notAfter"] = certificate.notAfter.description
            return Enrolment(grant: grant, issued: issued)
        }
    }

    private func redeem(_ secret: String, name: String, _ event: inout Act) throws(FleetError) -> Grant {
        // Looking the hash up leaks no more by its time than how a random digest sorts among others.
        let hash = Self.hash(secret)
        let found = try db.first("SELECT * FROM join_tokens WHERE hash = ?", hash) { row throws(FleetError) in
            let role: String = try row["role"]
            let cluster: String? = try row["cluster"]
            let name: String? = try row["name"]
            let expires: Timestamp = try row["expires"]
            let used: Timestamp? = try row["used"]
            let maker: String = try row["created_by"]
            return (role: role, cluster: cluster, name: name, expires: expires, used: used, maker: maker)
        }
        guard let found else {
            throw FleetError(
                .tokenUnknown, "this join token is not known here",
                hint:
                    "check that the whole token was pasted; make a new one with 'fleetctl agent token CLUSTER', for a "
                    + "person with 'fleetctl operator token NAME'")
        }
        event.cluster = found.cluster
        event.detail["role"] = found.role
        if let cluster = found.cluster, try !clusterExists(cluster) {
            throw FleetError(
                .tokenUsed, "this join token is void: \(cluster) is no cluster of this fleet any more",
                hint: "see: fleetctl cluster list; another token: fleetctl agent token CLUSTER")
        }
        if let used = found.used {
            throw FleetError(
                .tokenUsed,
                found.cluster != nil
                    ? "this join token was used already at \(used), or taken back then: its cluster was removed or protected, "
                        + "or who made it may not enrol nodes any more"
                    : "this join token was used already, or taken back with its operator's rights, at \(used)",
                hint: "a token is good once; make another with: "
                    + (found.cluster.map { "fleetctl agent token \($0)" } ?? "fleetctl operator token NAME"))
        }
        guard now < found.expires else {
            throw FleetError(
                .tokenExpired, "this join token expired at \(found.expires)",
                hint: "make a new one with: fleetctl agent token \(found.cluster ?? "CLUSTER")")
        }
        if let cluster = found.cluster { try checkMaker(found.maker, of: cluster) }
        try db.run("UPDATE join_tokens SET used = ? WHERE hash = ?", now, hash)
        if let cluster = found.cluster {
            try Names.check(name, "node")
            return .agent(cluster: cluster, node: name)
        }
        event.subject = found.name
        return .operator(name: found.name ?? "")
    }

    /// A token for a node is worth what who made it may when it is used: it is good for weeks, and those rights may not be.
    ///
    /// - Throws: `token-used`.
    private func checkMaker(_ maker: String, of cluster: String) throws(FleetError) {
        guard maker.hasPrefix(Self.byOperator) else { return }
        guard try !isProtected(cluster) else {
            throw FleetError(
                .tokenUsed, "this join token is void: \(cluster) is protected, and \(maker) made it",
                hint: "as root on the coordinator's host: fleetctl agent token \(cluster)")
        }
        let name = String(maker.dropFirst(Self.byOperator.count))
        let access = try operators().first { $0.name == name }?.access
        let stands: Bool? = try db.first(
            "SELECT 1 AS stands FROM certificates WHERE operator = ? AND revoked IS NULL AND not_after > ?", name, now
        ) { row throws(FleetError) in try row["stands"] }
        guard stands == true, let access, access.mayEnrolNodes else {
            throw FleetError(
                .tokenUsed, "this join token is void: \(maker), who made it, may not enrol nodes any more",
                hint: "have somebody who may make another: fleetctl agent token \(cluster)")
        }
    }

    /// Inside a transaction.
    ///
    /// - Returns: how many nobody can enrol with any more.
    func takeBackNodeTokens(madeBy name: String) throws(FleetError) -> Int {
        try db.run(
            """
            UPDATE join_tokens SET used = ?1 WHERE cluster IS NOT NULL AND created_by = ?2 AND used IS NULL
                AND expires > ?1
            """, now, Self.byOperator + name)
    }

    /// Inside a transaction: those that operators made, of a cluster whose agents only the coordinator's host enrols.
    func takeBackOperatorsTokens(of cluster: String) throws(FleetError) -> Int {
        try db.run(
            """
            UPDATE join_tokens SET used = ?1 WHERE cluster = ?2 AND substr(created_by, 1, length(?3)) = ?3
                AND used IS NULL AND expires > ?1
            """, now, cluster, Self.byOperator)
    }

    private static let byOperator = "operator:"

    private static func hash(_ secret: String) -> [UInt8] { SHA256.hash(Array(secret.utf8)) }
}

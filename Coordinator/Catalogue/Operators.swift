import FleetProtocol
import FleetSQLite
import FleetSystem

/// People, and what they may.
extension Catalogue {
    /// - Throws: `already-exists`; `malformed`, `usage` for what is no name, no label, or no cluster.
    func addOperator(_ name: String, _ access: OperatorAccess, by actor: String) throws(FleetError) -> OperatorRecord {
        var event = Act("operator.add", by: actor, subject: name)
        event.note(access)
        return try act(event) { _ throws(FleetError) in
            try Names.check(name, "operator")
            try check(access.clusters)
            guard try operators(name).isEmpty else {
                throw FleetError(
                    .alreadyExists, "there is an operator \(name) already",
                    hint:
                        "another token: fleetctl operator token \(name); another role: fleetctl operator set \(name) --role ROLE"
                )
            }
            try db.run(
                "INSERT INTO operators (name, created, role, clusters) VALUES (?, ?, ?, ?)", name, now,
                access.role.rawValue, try JSON.text(access.clusters))
            return try knownOperator(name)
        }
    }

    /// What it asks for from now on is looked at with these, and tokens for nodes that it could not make now are taken back.
    ///
    /// - Throws: `not-found`; `usage`.
    func setOperator(_ change: OperatorChange, by actor: String) throws(FleetError) -> OperatorRecord {
        let event = Act("operator.set", by: actor, subject: Names.isValid(change.name) ? change.name : nil)
        return try act(event) { event throws(FleetError) in
            let known = try knownOperator(change.name)
            // Where the row says nothing that can be read, nothing of it is guessed.
            guard let role = change.role ?? known.access?.role,
                let clusters = change.clusters ?? known.access?.clusters
            else {
                throw FleetError(
                    .usage, "the catalogue does not say what the operator \(change.name) may",
                    hint: "give both --role and --clusters")
            }
            let access = OperatorAccess(role: role, clusters: clusters)
            // What stays as it is may name a cluster that was removed since.
            if change.clusters != nil { try check(access.clusters) }
            event.note(access)
            event.detail["before"] = known.access?.text ?? "unknown"
            try db.run(
                "UPDATE operators SET role = ?, clusters = ? WHERE name = ?", access.role.rawValue,
                try JSON.text(access.clusters), change.name)
            if !access.mayEnrolNodes {
                let tokens = try takeBackNodeTokens(madeBy: change.name)
                if tokens > 0 { event.detail["tokens"] = String(tokens) }
            }
            return try knownOperator(change.name)
        }
    }

    func operators() throws(FleetError) -> [OperatorRecord] { try operators(nil) }

    /// - Throws: `not-found`.
    func knownOperator(_ name: String) throws(FleetError) -> OperatorRecord {
        guard let found = try operators(name).first else {
            throw FleetError(
                .notFound, "there is no operator \(Names.isValid(name) ? name : Names.quote(name))",
                hint: "make one: fleetctl operator add \(Names.isValid(name) ? name : "NAME") --role ROLE")
        }
        return found
    }

    /// What an operator may now.
    ///
    /// - Throws: `not-found`; `database-corrupt` where the row says nothing that can be relied upon: no rights are guessed.
    func principal(operator name: String) throws(FleetError) -> Principal {
        guard let access = try knownOperator(name).access else {
            throw FleetError(
                .databaseCorrupt, "the catalogue does not say what the operator \(name) may",
                hint:
                    "say it again, as root on the coordinator's host: fleetctl operator set \(name) --role ROLE --clusters all"
            )
        }
        return Principal(actor: "operator:\(name)", access: access, scope: try scope(access.clusters))
    }

    /// Of the fleet as it is now.
    private func scope(_ selector: ClusterSelector) throws(FleetError) -> Scope {
        guard !selector.isEverything else { return .all }
        let names: [String?] = try db.all("SELECT name, labels FROM clusters WHERE present") { row throws(FleetError) in
            let name: String = try row["name"]
            // Labels that can't be read select nothing, and hide no other cluster.
            let labels = (try? row.json([String: String].self, "labels")) ?? nil
            return selector.selects(name, labels: labels ?? [:]) ? name : nil
        }
        return .only(Set(names.compactMap(\.self)))
    }

    private func check(_ selector: ClusterSelector) throws(FleetError) {
        for name in selector.clusters where try !clusterExists(name) { throw try unknownCluster(name) }
        try Labels.check(selector.labels)
    }

    private func operators(_ name: String?) throws(FleetError) -> [OperatorRecord] {
        try db.all(
            """
            SELECT o.name, o.created, o.role, o.clusters, c.fingerprint, c.serial, c.issued, c.not_after, c.revoked,
                c.authority
            FROM operators o
            LEFT JOIN certificates c ON c.fingerprint = (SELECT fingerprint FROM certificates WHERE operator = o.name
                ORDER BY issued DESC, rowid DESC LIMIT 1)
            WHERE ?1 IS NULL OR o.name = ?1 ORDER BY o.name
            """, name
        ) { row throws(FleetError) in
            let name: String = try row["name"]
            var access: OperatorAccess?
            do throws(FleetError) {
                let text: String = try row["role"]
                if let role = OperatorRole(rawValue: text),
                    let clusters = try row.json(ClusterSelector.self, "clusters")
                {
                    access = OperatorAccess(role: role, clusters: clusters)
                }
            } catch { log.error("what the operator \(name) may can't be read", error) }
            return OperatorRecord(
                name: name, created: try row["created"], certificate: try row.certificate(), access: access)
        }
    }
}

extension OperatorAccess {
    /// As `ControlMethod.agentToken` demands it.
    var mayEnrolNodes: Bool { role == .admin && clusters.isEverything }
}

extension Act {
    fileprivate mutating func note(_ access: OperatorAccess) {
        detail["role"] = access.role.rawValue
        detail["clusters"] = access.clusters.isEverything ? "all" : access.clusters.text
    }
}

import FleetProtocol
import FleetSQLite
import FleetSystem

extension Catalogue {
    /// What an agent says of itself and of the etcd beside it. Audited only where something changed that a person
    /// would want to know: not the process id, not that it was seen again.
    ///
    /// - Throws: `not-found` for a node that was never enrolled, `malformed` for a counter that leaves no room above it.
    func register(cluster: String, node: String, _ request: RegisterRequest) throws(FleetError) {
        guard let counter = Int64(exactly: request.lastCounter), counter <= Self.counterLimit else {
            throw FleetError(
                .malformed, "the job counter of \(cluster)/\(node) is \(request.lastCounter), which no agent reaches",
                hint: "set the agent up anew: remove its state directory and enrol it again")
        }
        guard let known = try agents(cluster: cluster, node: node).first else {
            throw FleetError(
                .notFound, "node \(node) of cluster \(cluster) is not enrolled",
                hint: "enrol it: fleetctl agent install \(cluster) --ssh root@NODE")
        }
        // It is in every listing from now on.
        var program = request.program
        if let commit = program?.commit { program?.commit = String(commit.prefix(40)) }
        if let error = program?.fallback?.error { program?.fallback?.error = error.shortened(to: 500) }
        let certificates = request.certificates.map(NodeCertificates.bounded)
        defer { if let certificates { tellEnding(certificates, cluster: cluster, node: node) } }
        func update() throws(FleetError) {
            try db.run(
                """
                UPDATE nodes SET instance = ?, discovery_error = ?, discovered = ?, drill_versions = ?, program = ?,
                    certificates = coalesce(?, certificates)
                WHERE cluster = ? AND name = ?
                """,
                try request.instance.map { value throws(FleetError) in try JSON.text(value) },
                try request.discoveryError.map { value throws(FleetError) in try JSON.text(value) }, now,
                try request.drillVersions.map { value throws(FleetError) in try JSON.text(value) },
                try program.map { value throws(FleetError) in try JSON.text(value) },
                try certificates.map { value throws(FleetError) in try JSON.text(value) }, cluster, node)
            // The agent's own count wins where it is higher: a catalogue that was rebuilt starts from nothing.
            try db.run(
                """
                UPDATE agents SET version = ?, last_seen = ?, counter = max(counter, ?) WHERE cluster = ? AND node = ?
                """, request.agentVersion, now, counter, cluster, node)
        }
        var before = known.instance
        var after = request.instance
        before?.pid = nil
        after?.pid = nil
        if before == after, known.version == request.agentVersion, known.program?.sha256 == program?.sha256,
            known.discoveryError?.code == request.discoveryError?.code,
            (known.drillVersions ?? []).isEmpty == (request.drillVersions ?? []).isEmpty
        {
            return try db.transaction { () throws(FleetError) in try update() }
        }
        let event = Act(AgentHistory.changed, by: "agent:\(cluster)/\(node)", cluster: cluster, subject: node)
        try act(event) { event throws(FleetError) in
            event.detail["agentVersion"] = request.agentVersion
            event.detail["program"] = program?.sha256
            event.detail["etcdVersion"] = request.instance?.version
            event.detail["topology"] = request.instance?.topology.rawValue
            event.detail["dataDir"] = request.instance?.dataDir
            event.detail["discoveryError"] = request.discoveryError?.code.rawValue
            if let versions = request.drillVersions, !versions.isEmpty {
                event.detail[AgentHistory.drills] = versions.joined(separator: ", ")
            }
            try update()
        }
    }

    /// Billions of jobs a second would not reach it in a year, and there is as much room again above it.
    private static let counterLimit: Int64 = 1 << 62

    /// When agents were last heard of. Never set back, unless to before a time that has not come yet.
    func seen(_ sightings: [NodeName: Timestamp]) throws(FleetError) {
        guard !sightings.isEmpty else { return }
        try db.transaction { () throws(FleetError) in
            for (node, time) in sightings {
                try db.run(
                    """
                    UPDATE agents SET last_seen = ?3 WHERE cluster = ?1 AND node = ?2
                        AND (last_seen IS NULL OR last_seen < ?3 OR last_seen > ?4)
                    """, node.cluster, node.node, time, now)
            }
        }
    }

    /// By cluster and node; nil for all.
    func agents(cluster: String? = nil, node: String? = nil) throws(FleetError) -> [AgentRecord] {
        try db.all(
            """
            SELECT a.cluster, a.node, a.enrolled, a.version, a.last_seen, n.instance, n.discovery_error, n.drill_versions,
                n.program, n.certificates, b.confirmed, b.problem, b.left_out, b.decrypts, b.encryption_keys,
                b.node AS offered, c.fingerprint, c.serial, c.issued, c.not_after, c.revoked, c.authority
            FROM agents a JOIN nodes n ON n.cluster = a.cluster AND n.name = a.node
            LEFT JOIN node_bundles b ON b.cluster = a.cluster AND b.node = a.node
            LEFT JOIN certificates c ON c.fingerprint = (SELECT fingerprint FROM certificates
                WHERE cluster = a.cluster AND node = a.node
                ORDER BY revoked IS NOT NULL, CASE WHEN revoked IS NULL THEN rowid ELSE -rowid END LIMIT 1)
            WHERE a.present AND (?1 IS NULL OR a.cluster = ?1) AND (?2 IS NULL OR a.node = ?2)
            ORDER BY a.cluster, a.node
            """, cluster, node
        ) { row throws(FleetError) in
            var agent = AgentRecord(
                cluster: try row["cluster"], node: try row["node"], enrolled: try row["enrolled"],
                lastSeen: try row["last_seen"], connected: false, version: try row["version"],
                instance: try row.json(EtcdInstance.self, "instance"),
                discoveryError: try row.json(FleetError.self, "discovery_error"), certificate: try row.certificate(),
                drillVersions: try row.json([String].self, "drill_versions"),
                program: try row.json(RunningProgram.self, "program"))
            agent.nodeCertificates = try row.json([CertificateExpiry].self, "certificates")
            let offered: String? = try row["offered"]
            if offered != nil {
                agent.configuration = BundleState(
                    confirmed: try row["confirmed"], problem: try row.json(FleetError.self, "problem"),
                    leftOut: try row["left_out"], decrypts: try row["decrypts"],
                    encryptionKeys: try row.json([String].self, "encryption_keys"))
            }
            return agent
        }
    }

    /// Inside a transaction: the node's rows, whether it is new or is enrolled once more.
    func enrolNode(cluster: String, node: String) throws(FleetError) {
        try db.run("INSERT INTO nodes (cluster, name) VALUES (?, ?) ON CONFLICT DO NOTHING", cluster, node)
        // The counter stays: what the node accepted under its former certificate must never be accepted again.
        try db.run(
            """
            INSERT INTO agents (cluster, node, enrolled) VALUES (?, ?, ?)
            ON CONFLICT (cluster, node) DO UPDATE SET enrolled = excluded.enrolled, present = 1
            """, cluster, node, now)
    }
}

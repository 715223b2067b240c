import FleetProtocol
import FleetSQLite
import FleetSystem

/// The newest configuration of each node. What a snapshot refers to stands in its record, and nowhere else: so the store and
/// the catalogue can't disagree about it, and a catalogue that is rebuilt knows it too.
extension Catalogue {
    /// False for a cluster that is not there.
    func keepsConfiguration(_ cluster: String) throws(FleetError) -> Bool {
        try db.first("SELECT keeps_configuration AS keeps FROM clusters WHERE name = ?", cluster) {
            row throws(FleetError) in try row["keeps"]
        } ?? false
    }

    /// - Returns: how many snapshots have a configuration with them, which stays.
    /// - Throws: `not-found`.
    func keepConfiguration(_ cluster: String, _ isOn: Bool, by actor: String) throws(FleetError) -> Int {
        try act(Act(isOn ? "bundle.on" : "bundle.off", by: actor, cluster: cluster)) { _ throws(FleetError) in
            guard try clusterExists(cluster) else { throw try unknownCluster(cluster) }
            try db.run("UPDATE clusters SET keeps_configuration = ? WHERE name = ?", isOn, cluster)
            if !isOn { try db.run("DELETE FROM node_bundles WHERE cluster = ?", cluster) }
        }
        return try db.first(
            """
            SELECT count(*) AS count FROM snapshots WHERE cluster = ? AND json_extract(record, '$.bundles') IS NOT NULL
            """, cluster
        ) { row throws(FleetError) in try row["count"] } ?? 0
    }

    /// By node, of those whose agent stands: whose was turned out is no node of the cluster's any more.
    func newestBundles(_ cluster: String) throws(FleetError) -> [NodeBundle] {
        guard try keepsConfiguration(cluster) else { return [] }
        return try db.all(
            """
            SELECT node, bundle, collected, confirmed, files, bytes, left_out, decrypts, encryption_keys FROM node_bundles b
            WHERE cluster = ? AND bundle IS NOT NULL AND \(Self.agentStands) ORDER BY node
            """, cluster
        ) { row throws(FleetError) in
            NodeBundle(
                node: try row["node"], bundle: try row["bundle"], collected: try row["collected"],
                confirmed: try row["confirmed"], files: try row["files"], bytes: try row["bytes"],
                leftOut: try row["left_out"], decrypts: try row["decrypts"],
                encryptionKeys: try row.json([String].self, "encryption_keys"))
        }
    }

    private static let agentStands =
        "EXISTS (SELECT 1 FROM certificates c WHERE c.cluster = b.cluster AND c.node = b.node AND c.revoked IS NULL)"

    /// The node has this one now.
    ///
    /// - Returns: whether it is its newest, and in the store.
    func confirmBundle(_ bundle: String, of node: NodeName, isThere: Bool) throws(FleetError) -> Bool {
        let known: String?? = try db.first(
            "SELECT bundle FROM node_bundles WHERE cluster = ? AND node = ?", node.cluster, node.node
        ) { row throws(FleetError) in try row["bundle"] }
        guard isThere, known == .some(bundle) else { return false }
        try db.run(
            "UPDATE node_bundles SET confirmed = ?, problem = NULL WHERE cluster = ? AND node = ?", now, node.cluster,
            node.node)
        return true
    }

    /// An encryption-at-rest configuration is in the newest, and what that offers is not known.
    func lacksEncryptionKeys(_ node: NodeName) throws(FleetError) -> Bool {
        let found: Bool? = try db.first(
            "SELECT decrypts IS 1 AND encryption_keys IS NULL AS lacks FROM node_bundles WHERE cluster = ? AND node = ?",
            node.cluster, node.node
        ) { row throws(FleetError) in try row["lacks"] }
        return found ?? false
    }

    func noteEncryptionKeys(_ keys: [String], of node: NodeName, bundle: String) throws(FleetError) {
        try db.run(
            "UPDATE node_bundles SET encryption_keys = ? WHERE cluster = ? AND node = ? AND bundle = ?",
            try Self.text(keys), node.cluster, node.node, bundle)
    }

    /// It is in the store, and its node's newest from now on.
    ///
    /// - Throws: `conflict` where the cluster's is not kept.
    func noteBundle(_ bundle: String, _ manifest: BundleManifest, of node: NodeName) throws(FleetError) {
        var event = Act("bundle.store", by: "agent:\(node)", cluster: node.cluster, subject: node.node)
        event.detail = ["files": String(manifest.files.count), "bytes": String(manifest.bytes)]
        if let leftOut = manifest.essentialLeftOut { event.detail["leftOut"] = String(leftOut) }
        try act(event) { _ throws(FleetError) in
            // It may have been turned off since somebody looked.
            let count = try db.run(
                """
                INSERT INTO node_bundles (cluster, node, bundle, collected, confirmed, files, bytes, left_out, decrypts,
                    encryption_keys)
                SELECT name, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8, ?9 FROM clusters WHERE name = ?1 AND keeps_configuration
                ON CONFLICT (cluster, node) DO UPDATE SET bundle = ?3, collected = ?4, confirmed = ?4, files = ?5,
                    bytes = ?6, left_out = ?7, decrypts = ?8, encryption_keys = ?9, problem = NULL
                """, node.cluster, node.node, bundle, now, manifest.files.count, manifest.bytes,
                manifest.essentialLeftOut, manifest.decrypts,
                try Self.text(manifest.encryptionKeys))
            guard count > 0 else {
                throw FleetError(.conflict, "the configuration of \(node.cluster) is not kept")
            }
        }
    }

    private static func text(_ keys: [String]?) throws(FleetError) -> String? {
        guard let keys else { return nil }
        return try JSON.text(keys)
    }

    /// Why the newest of a node did not come; what came before stays its newest.
    func noteBundleProblem(_ problem: FleetError, of node: NodeName) throws(FleetError) {
        try db.run(
            """
            INSERT INTO node_bundles (cluster, node, problem)
            SELECT name, ?2, ?3 FROM clusters WHERE name = ?1 AND keeps_configuration
            ON CONFLICT (cluster, node) DO UPDATE SET problem = ?3
            """, node.cluster, node.node, try JSON.text(problem.shortened(to: 500)))
    }

    /// It is not what it was: whichever node has it is asked for it again.
    func forgetBundle(_ bundle: String) throws(FleetError) {
        try db.run("UPDATE node_bundles SET bundle = NULL WHERE bundle = ?", bundle)
    }

    /// Inside a transaction: a snapshot that the store has and the catalogue had not tells of nodes, too.
    func seedBundles(_ record: SnapshotRecord) throws(FleetError) {
        for one in record.bundles ?? [] {
            try db.run(
                """
                INSERT INTO node_bundles (cluster, node, bundle, collected, confirmed, files, bytes, left_out, decrypts,
                    encryption_keys)
                SELECT name, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM clusters WHERE name = ?1 AND keeps_configuration
                ON CONFLICT (cluster, node) DO UPDATE SET bundle = ?3, collected = ?4, confirmed = ?5, files = ?6, bytes = ?7,
                    left_out = ?8, decrypts = ?9, encryption_keys = ?10 WHERE coalesce(confirmed, 0) < ?5
                """, record.cluster, one.node, one.bundle, one.collected, one.confirmed, one.files, one.bytes,
                one.leftOut, one.decrypts, try Self.text(one.encryptionKeys))
        }
    }

    /// Those that a row of a snapshot or of a node names.
    func bundlesInUse() throws(FleetError) -> Set<String> { Set(try bundleUsers().keys) }

    /// The snapshots that refer to each; none for one that is only a node's newest.
    func bundleUsers() throws(FleetError) -> [String: [String]] {
        var users: [String: [String]] = [:]
        let newest: [String] = try db.all(
            "SELECT bundle FROM node_bundles b WHERE bundle IS NOT NULL AND \(Self.agentStands)"
        ) { row throws(FleetError) in try row["bundle"] }
        for bundle in newest { users[bundle] = [] }
        let rows: [(String, String)] = try db.all(
            """
            SELECT s.id, json_extract(b.value, '$.bundle') AS bundle FROM snapshots s,
                json_each(s.record, '$.bundles') b ORDER BY s.id
            """
        ) { row throws(FleetError) in (try row["id"], try row["bundle"]) }
        for (id, bundle) in rows { users[bundle, default: []].append(id) }
        return users
    }
}

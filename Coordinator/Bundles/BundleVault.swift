import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSQLite
import FleetSystem

/// The configuration of nodes, from an agent's word to what a snapshot refers to.
///
/// In this order, so that no snapshot ever refers to what is not there: a bundle is durable in the store, then it is its
/// node's newest in the catalogue, then the record of a snapshot names it, in the same act that makes the snapshot. It is
/// freed by a collection, when neither a record nor a node names it any more. A crash between the steps leaves a bundle that
/// nobody names. All of it, the collection included, takes turns.
extension Vault {
    var bundles: (any BundleStore)? { store as? any BundleStore }

    /// Whether a node's configuration is wanted, which it may have told the digest of.
    func offer(_ offer: BundleOffer, from node: NodeName) async throws(FleetError) -> BundleAnswer {
        guard let bundles, try await catalogue.keepsConfiguration(node.cluster) else {
            return BundleAnswer(isOn: false, isWanted: false)
        }
        if let problem = offer.problem { try await catalogue.noteBundleProblem(problem, of: node) }
        guard let text = offer.digest else { return BundleAnswer(isOn: true, isWanted: false) }
        guard let digest = [UInt8](hex: text), digest.count == 32 else {
            throw FleetError(.malformed, "a digest of \(text.utf8.count) characters is none")
        }
        let name = bundles.bundleName(sha256: digest)
        let isThere = try await blocking { () throws(FleetError) in try bundles.hasBundle(name) }
        let isKnown = try await catalogue.confirmBundle(name, of: node, isThere: isThere)
        if isKnown { try await learnKeys(of: name, bundles, node) }
        // Before it sends what would be refused.
        if !isKnown { try await bundleQuota.check(node) }
        return BundleAnswer(isOn: true, isWanted: !isKnown)
    }

    /// A coordinator that knew nothing of names of keys has stored it.
    private func learnKeys(
        of name: String, _ bundles: any BundleStore, _ node: NodeName
    ) async throws(FleetError) {
        guard try await catalogue.lacksEncryptionKeys(node) else { return }
        let manifest = try? await blocking { () throws(FleetError) in
            try Bundle.decode(try bundles.bundle(name)).manifest
        }
        if let keys = manifest?.encryptionKeys { try await catalogue.noteEncryptionKeys(keys, of: node, bundle: name) }
    }

    /// Takes a node's configuration in; durable when it returns.
    ///
    /// - Throws: `malformed` for what is no bundle, `conflict` where the cluster's is not kept, `no-space`.
    func takeBundle(_ bytes: [UInt8], from node: NodeName) async throws(FleetError) {
        guard let bundles else { throw FleetError(.conflict, "this store keeps no configuration") }
        do throws(FleetError) {
            let manifest = try await blocking { () throws(FleetError) in
                try Bundle.decode(bytes).manifest
            }
            try await bundling.holding { () async throws(FleetError) in
                guard try await catalogue.keepsConfiguration(node.cluster) else {
                    throw FleetError(.conflict, "the configuration of \(node.cluster) is not kept")
                }
                try await bundleQuota.take(node)
                let name = try await blocking { [self] () throws(FleetError) in
                    try checkReserve()
                    return try bundles.addBundle(bytes)
                }
                try await catalogue.noteBundle(name, manifest, of: node)
            }
        } catch {
            if error.code != .conflict { try? await catalogue.noteBundleProblem(error, of: node) }
            throw error.forSender
        }
    }

    /// Does `body` with what a snapshot that is stored now refers to; none of it goes meanwhile.
    func referring<Value: Sendable>(
        to cluster: String, _ body: ([NodeBundle]?) async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        guard let bundles else { return try await body(nil) }
        return try await bundling.holding { () async throws(FleetError) in
            // What is wrong with these keeps no snapshot from being stored.
            var newest: [NodeBundle] = []
            do throws(FleetError) {
                for one in try await catalogue.newestBundles(cluster) {
                    if try await blocking({ () throws(FleetError) in try bundles.hasBundle(one.bundle) }) {
                        newest.append(one)
                    } else {
                        // Its agent sends it again when it hears that it is not here.
                        log.warning("the configuration of \(cluster)/\(one.node) is not in the store any more")
                        try await catalogue.forgetBundle(one.bundle)
                    }
                }
            } catch { log.error("a snapshot is stored without its nodes' configuration", error) }
            return try await body(newest.isEmpty ? nil : newest)
        }
    }

    /// The bytes of a bundle, as they came.
    ///
    /// - Throws: `not-found`, `snapshot-damaged`.
    func bundle(_ name: String) async throws(FleetError) -> [UInt8] {
        guard let bundles else { throw FleetError(.notFound, "this store keeps no configuration") }
        return try await blocking { () throws(FleetError) in try bundles.bundle(name) }
    }

    /// Gives back what neither a snapshot nor a node refers to.
    ///
    /// - Throws: where it can't be known what is referred to; then nothing was removed.
    func collectBundles(dryRun: Bool) async throws(FleetError) -> [(path: String, size: Int64)] {
        guard let bundles else { return [] }
        return try await bundling.holding { () async throws(FleetError) in
            // Rows first: a snapshot that is replaced has no file for a moment, and one that is being deleted a row.
            let rows = try await catalogue.bundlesInUse()
            return try await blocking { () throws(FleetError) in
                let needed = rows.union(try bundles.bundlesOfRecords())
                return try bundles.collectBundles(keeping: needed, dryRun: dryRun)
            }
        }
    }

    /// Reads every bundle that is referred to. What is damaged is asked for again, where its node still has it.
    func checkBundles() async throws(FleetError) -> [StoreCheckReply.Finding] {
        guard let bundles else { return [] }
        var findings: [StoreCheckReply.Finding] = []
        for (name, users) in try await catalogue.bundleUsers().sorted(by: { $0.key < $1.key }) {
            do throws(FleetError) {
                try await blocking { () throws(FleetError) in _ = try Bundle.decode(try bundles.bundle(name)) }
            } catch {
                guard [.notFound, .snapshotDamaged, .malformed].contains(error.code) else { throw error }
                // Gone while this went on: nobody refers to it any more.
                guard try await catalogue.bundleUsers()[name] != nil else { continue }
                try await catalogue.forgetBundle(name)
                var problem = error
                problem.hint =
                    "data can be restored all the same; a node that still has this configuration sends it again within minutes, "
                    + "otherwise put the file back from a copy of the store"
                findings.append(.init(path: bundles.bundlePath(name), problem: problem, snapshots: users))
            }
        }
        return findings
    }
}

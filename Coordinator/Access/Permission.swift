import FleetProtocol
import FleetSystem

/// What a method asks of whoever calls it: the one table of who may do what. A method that is not in it is not served to
/// operators at all.
struct Permission: Sendable {
    /// Which clusters a request is about.
    enum Concern: Sendable {
        /// None; a listing, which is cut to the clusters of who asks.
        case listing
        /// The one it names, or a listing where it names none.
        case listingOf(Field)
        case cluster(Field)
        case snapshots([Field])
        case job(Field)
        /// A job that plans to put a snapshot, which may be another cluster's, in place of a cluster's data.
        case plan(Field)
        /// A cluster and a snapshot, which may be another cluster's.
        case restore
        /// A name that is a cluster's or a snapshot's.
        case clusterOrSnapshot(Field)
        /// All of them.
        case fleet
        /// What only the coordinator's host may, whoever is an operator.
        case host
    }

    /// In which a request says what it is about.
    enum Field: String, CodingKey, Sendable { case cluster, name, snapshot, job, from, to, at }

    var role: OperatorRole
    var concern: Concern

    static func of(_ method: String) -> Permission? { table[method] }

    private static let table: [String: Permission] = [
        ControlMethod.whoAmI: .init(role: .viewer, concern: .listing),
        ControlMethod.status: .init(role: .viewer, concern: .listing),
        ControlMethod.listClusters: .init(role: .viewer, concern: .listing),
        ControlMethod.showCluster: .init(role: .viewer, concern: .cluster(.name)),
        ControlMethod.listAgents: .init(role: .viewer, concern: .listingOf(.cluster)),
        ControlMethod.listJobs: .init(role: .viewer, concern: .listingOf(.cluster)),
        ControlMethod.showJob: .init(role: .viewer, concern: .job(.name)),
        ControlMethod.watchJob: .init(role: .viewer, concern: .job(.name)),
        ControlMethod.listSnapshots: .init(role: .viewer, concern: .listingOf(.cluster)),
        ControlMethod.showSnapshot: .init(role: .viewer, concern: .snapshots([.name])),
        ControlMethod.auditLog: .init(role: .viewer, concern: .listingOf(.cluster)),
        ControlMethod.verifyAudit: .init(role: .viewer, concern: .listing),
        ControlMethod.listPolicies: .init(role: .viewer, concern: .listing),
        ControlMethod.listRetention: .init(role: .viewer, concern: .listingOf(.cluster)),
        ControlMethod.listOperators: .init(role: .viewer, concern: .fleet),
        ControlMethod.storeStatistics: .init(role: .viewer, concern: .fleet),
        // Names, sizes and dates; what is in the files is an export.
        ControlMethod.showBundle: .init(role: .viewer, concern: .snapshots([.snapshot])),

        ControlMethod.startBackup: .init(role: .operator, concern: .cluster(.cluster)),
        ControlMethod.startDrill: .init(role: .operator, concern: .clusterOrSnapshot(.name)),
        ControlMethod.pinSnapshot: .init(role: .operator, concern: .snapshots([.name])),
        ControlMethod.listKeys: .init(role: .operator, concern: .snapshots([.snapshot])),
        ControlMethod.compareSnapshots: .init(role: .operator, concern: .snapshots([.from, .to])),
        ControlMethod.checkStore: .init(role: .operator, concern: .fleet),

        ControlMethod.previewRestore: .init(role: .restorer, concern: .restore),
        ControlMethod.startRestore: .init(role: .restorer, concern: .restore),
        ControlMethod.previewUndo: .init(role: .restorer, concern: .job(.job)),
        ControlMethod.undoRestore: .init(role: .restorer, concern: .job(.job)),
        ControlMethod.previewCleanup: .init(role: .restorer, concern: .job(.job)),
        ControlMethod.cleanUpRestore: .init(role: .restorer, concern: .job(.job)),
        ControlMethod.previewApproval: .init(role: .restorer, concern: .plan(.name)),
        ControlMethod.approveRestore: .init(role: .restorer, concern: .plan(.job)),
        ControlMethod.replaceMember: .init(role: .restorer, concern: .cluster(.cluster)),
        // It may become the latest, which is what is restored.
        ControlMethod.importSnapshot: .init(role: .restorer, concern: .cluster(.cluster)),
        ControlMethod.acceptCluster: .init(role: .restorer, concern: .cluster(.cluster)),
        // Whoever has these has all that is in the cluster, its Secrets included.
        ControlMethod.showValue: .init(role: .restorer, concern: .snapshots([.snapshot])),
        ControlMethod.exportSnapshot: .init(role: .restorer, concern: .snapshots([.name])),
        ControlMethod.exportBundle: .init(role: .restorer, concern: .snapshots([.snapshot])),

        // Whoever has an agent may have a verifier, to which all clusters' snapshots go.
        ControlMethod.agentToken: .init(role: .admin, concern: .fleet),
        ControlMethod.enrolmentTerms: .init(role: .admin, concern: .cluster(.cluster)),
        // It is root on the nodes from then on.
        ControlMethod.uploadProgram: .init(role: .admin, concern: .fleet),
        ControlMethod.upgradeAgent: .init(role: .admin, concern: .fleet),
        ControlMethod.revokeAgent: .init(role: .admin, concern: .cluster(.cluster)),
        ControlMethod.protectCluster: .init(role: .admin, concern: .cluster(.cluster)),
        ControlMethod.switchBundles: .init(role: .admin, concern: .cluster(.cluster)),
        ControlMethod.setRetention: .init(role: .admin, concern: .cluster(.cluster)),
        ControlMethod.applyRetention: .init(role: .admin, concern: .cluster(.cluster)),
        ControlMethod.deleteSnapshot: .init(role: .admin, concern: .snapshots([.name])),
        ControlMethod.addCluster: .init(role: .admin, concern: .fleet),
        ControlMethod.removeCluster: .init(role: .admin, concern: .fleet),
        // Labels say which policies a cluster follows, and whose it is.
        ControlMethod.labelCluster: .init(role: .admin, concern: .fleet),
        ControlMethod.setPolicy: .init(role: .admin, concern: .fleet),
        ControlMethod.removePolicy: .init(role: .admin, concern: .fleet),
        ControlMethod.applyPolicies: .init(role: .admin, concern: .fleet),
        ControlMethod.collectStore: .init(role: .admin, concern: .fleet),
        ControlMethod.revokeOperator: .init(role: .admin, concern: .fleet),
        // A report is of the whole chain, also where it shows a few clusters.
        ControlMethod.auditReport: .init(role: .viewer, concern: .fleet),
        ControlMethod.proveReport: .init(role: .viewer, concern: .fleet),
        ControlMethod.listCoordinatorCopies: .init(role: .viewer, concern: .fleet),
        ControlMethod.backUpCoordinator: .init(role: .admin, concern: .fleet),
        ControlMethod.listAlertTargets: .init(role: .viewer, concern: .fleet),
        ControlMethod.setWebhook: .init(role: .admin, concern: .fleet),
        ControlMethod.removeAlertTarget: .init(role: .admin, concern: .fleet),
        ControlMethod.testAlertTarget: .init(role: .admin, concern: .fleet),
        ControlMethod.resumeAlerts: .init(role: .admin, concern: .fleet),
        // Whoever may have a program run there is the coordinator.
        ControlMethod.setAlertCommand: .init(role: .admin, concern: .host),

        ControlMethod.addOperator: .init(role: .admin, concern: .host),
        ControlMethod.setOperator: .init(role: .admin, concern: .host),
        ControlMethod.operatorToken: .init(role: .admin, concern: .host),
    ]
}

extension Catalogue {
    /// The one place where it is decided whether a request is served. What it names is looked for among the clusters of who
    /// asks: those of others are not there.
    ///
    /// - Throws: `permission-denied`; `not-found`, `ambiguous`, `malformed` of what the request names; `unknown-method`.
    func permit(_ method: String, _ request: [UInt8], to who: Principal) throws(FleetError) {
        guard let permission = Permission.of(method) else {
            throw FleetError(
                .unknownMethod, "this coordinator does not know \(Names.quote(method))", hint: "upgrade the older side")
        }
        // The host may everything, and is told by the method itself what is wrong with its request.
        guard who.access != nil else { return }
        if case .host = permission.concern { try who.needsHost(method) }
        try who.need(permission.role, method)
        if case .fleet = permission.concern { return try who.needsAll(method) }
        guard case .only = who.scope else { return }
        for cluster in try clusters(permission.concern, request, who) { try who.need(cluster: cluster) }
    }

    /// The clusters that a request is about, as far as `who` may not be refused before.
    private func clusters(
        _ concern: Permission.Concern, _ request: [UInt8], _ who: Principal
    ) throws(FleetError) -> [String] {
        func optional(_ field: Permission.Field) throws(FleetError) -> String? {
            try JSON.decode(RequestFields.self, from: request).values[field]
        }
        func value(_ field: Permission.Field) throws(FleetError) -> String {
            guard let value = try optional(field) else {
                throw FleetError(.malformed, "the request names no \(field.rawValue)")
            }
            return value
        }
        switch concern {
        case .listing, .fleet, .host: return []
        case .listingOf(let field): return try optional(field).map { [$0] } ?? []
        case .cluster(let field): return [try value(field)]
        case .job(let field):
            _ = try job(try value(field), in: who.scope)
            return []
        case .plan(let field):
            let job = try job(try value(field), in: who.scope)
            return [job.cluster] + (try entry(job.snapshot).map { [$0.record.cluster] } ?? [])
        case .snapshots(let fields):
            for field in fields { _ = try findSnapshot(try value(field), in: who.scope) }
            return []
        case .clusterOrSnapshot(let field):
            let name = try value(field)
            if who.scope.contains(name) { return [] }
            _ = try findSnapshot(name, in: who.scope)
            return []
        case .restore:
            let cluster = try value(.cluster)
            try who.need(cluster: cluster)
            _ = try snapshotToRestore(try value(.at), to: cluster, in: who.scope)
            return []
        }
    }
}

/// Those fields of a request that say what it is about.
private struct RequestFields: Decodable {
    var values: [Permission.Field: String] = [:]

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Permission.Field.self)
        for key in fields.allKeys { values[key] = try? fields.decode(String.self, forKey: key) }
    }
}

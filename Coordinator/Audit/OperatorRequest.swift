import FleetProtocol
import FleetSystem

/// One request of an operator, while it is served. What refuses it deep down may put that on record itself; whatever
/// does not is put on record at the door, so that each refusal is there once.
final class OperatorRequest: Sendable {
    @TaskLocal static var current: OperatorRequest?
    private let recorded = Monitor(false)

    var isRecorded: Bool { recorded.withLock(\.self) }
    func note() { recorded.withLock { $0 = true } }
}

extension OperatorRequest {
    /// What a refusal of `method` is recorded as; nil for what only reads.
    static func act(_ method: String, _ request: [UInt8], by actor: String) -> Act? {
        struct Wish: Decodable { var dryRun: Bool? }
        var act = named(method, request, by: actor)
        // That somebody would have changed something is another thing than that they wanted to know what would be.
        if (try? JSON.decode(Wish.self, from: request))?.dryRun == true { act?.detail["dryRun"] = "true" }
        return act
    }

    private static func named(_ method: String, _ request: [UInt8], by actor: String) -> Act? {
        /// The fields by which the requests of all methods say what they are about.
        struct Target: Decodable {
            var cluster: String?
            var name: String?
            var at: String?
            var snapshot: String?
            var key: String?
            var file: String?
            var job: String?
            var node: String?
        }
        let target = try? JSON.decode(Target.self, from: request)
        switch method {
        case ControlMethod.addCluster, ControlMethod.removeCluster, ControlMethod.agentToken:
            return Act(method, by: actor, cluster: target?.name)
        case ControlMethod.addOperator, ControlMethod.setOperator, ControlMethod.operatorToken,
            ControlMethod.exportSnapshot, ControlMethod.pinSnapshot,
            ControlMethod.deleteSnapshot:
            return Act(method, by: actor, subject: target?.name)
        case ControlMethod.importSnapshot:
            var act = Act(method, by: actor, cluster: target?.cluster)
            act.detail["file"] = target?.file
            return act
        case ControlMethod.showValue:
            var act = Act(method, by: actor, subject: target?.snapshot)
            act.detail["key"] = target?.key
            return act
        case ControlMethod.revokeAgent, ControlMethod.revokeOperator:
            return Act(method, by: actor, cluster: target?.cluster, subject: target?.name)
        case ControlMethod.exportBundle:
            var act = Act(method, by: actor, subject: target?.snapshot)
            act.detail["node"] = target?.node
            return act
        case ControlMethod.switchBundles:
            struct Wanted: Decodable { var isOn: Bool }
            let isOn = (try? JSON.decode(Wanted.self, from: request))?.isOn
            return Act(isOn == true ? "bundle.on" : "bundle.off", by: actor, cluster: target?.cluster)
        case ControlMethod.enrolmentTerms, ControlMethod.acceptCluster, ControlMethod.protectCluster,
            ControlMethod.startBackup,
            ControlMethod.setRetention,
            ControlMethod.applyRetention, ControlMethod.labelCluster:
            return Act(method, by: actor, cluster: target?.cluster)
        // A preview changes nothing; that somebody wanted what is forbidden is worth knowing all the same.
        case ControlMethod.previewRestore, ControlMethod.startRestore:
            return Act(method, by: actor, cluster: target?.cluster, subject: target?.at)
        case ControlMethod.replaceMember, ControlMethod.upgradeAgent:
            return Act(method, by: actor, cluster: target?.cluster, subject: target?.node)
        case ControlMethod.setPolicy, ControlMethod.removePolicy, ControlMethod.setWebhook,
            ControlMethod.setAlertCommand,
            ControlMethod.removeAlertTarget, ControlMethod.testAlertTarget:
            return Act(method, by: actor, subject: target?.name)
        case ControlMethod.auditReport, ControlMethod.applyPolicies, ControlMethod.backUpCoordinator,
            ControlMethod.uploadProgram, ControlMethod.resumeAlerts:
            return Act(method, by: actor)
        case ControlMethod.startDrill: return Act(method, by: actor, subject: target?.name)
        case ControlMethod.previewUndo, ControlMethod.undoRestore, ControlMethod.previewCleanup,
            ControlMethod.cleanUpRestore, ControlMethod.approveRestore:
            return Act(method, by: actor, subject: target?.job)
        case ControlMethod.previewApproval: return Act(method, by: actor, subject: target?.name)
        default: return nil
        }
    }
}

extension Catalogue {
    /// Does `body`; what it throws is put on record as a refusal or failure of `act`, unless it is there already.
    nonisolated func recording<Value: Sendable>(
        _ act: Act, _ body: () async throws(FleetError) -> Value
    ) async throws(FleetError) -> Value {
        let request = OperatorRequest()
        let result: Result<Value, FleetError> = await OperatorRequest.$current.withValue(request) {
            do throws(FleetError) { return .success(try await body()) } catch { return .failure(error) }
        }
        // Who asked is gone: nothing was refused.
        let isLost: (FleetError) -> Bool = { $0.code == .cancelled || $0.code == .connectionLost }
        if case .failure(let error) = result, !request.isRecorded, !isLost(error) {
            try? await audit(act, error: error)
        }
        return try result.get()
    }

    /// Somebody who was not let in, or to something: on record as far as a budget for refusals goes.
    ///
    /// - Parameter actor: whose budget; nil is that of all whom nobody vouches for.
    func turnedAway(_ act: Act, _ error: FleetError, budget actor: String? = nil) {
        var act = act
        guard let leftOut = refusals[actor ?? "", default: RefusalBudget()].admit(at: now) else { return }
        if leftOut > 0 { act.detail["leftOut"] = String(leftOut) }
        try? audit(act, error: error)
    }
}

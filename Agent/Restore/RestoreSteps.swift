internal import FleetSystem

/// Does what the machine decides, on this node. Every step can be done again from any state that a crash may leave,
/// and every wait ends after `waitSeconds`. All of it blocks. What needs the connection is not here: the
/// safety snapshot and the fetch.
struct RestoreSteps: Sendable {
    var work: RestoreWork
    var paths: AgentPaths
    var faults = FaultInjection.none

    /// - Returns: a note for the journal and for people, where there is something to say.
    func perform(_ step: RestoreStep) throws(FleetError) -> String? {
        switch step {
        case .safetySnapshot, .fetch: nil
        case .checkSnapshot: try checkSnapshot()
        case .preflight: work.undoes == nil ? try preflight() : try checkUndo()
        case .restoreData: try restoreData()
        case .stopControlPlane: try stopControlPlane()
        case .stopEtcd: try stopEtcd()
        case .switchFiles: try switchFiles()
        case .startEtcd: try startNewEtcd()
        case .verify: try verify()
        case .startControlPlane: try startControlPlane()
        case .finish: finish()
        }
    }

    /// - Returns: what people should know of it, besides that the step was taken back.
    @discardableResult
    func undo(_ step: RestoreStep) throws(FleetError) -> String? {
        switch step {
        case .safetySnapshot, .fetch: try FileSystem.removeTree(paths.spool(work.job))
        case .checkSnapshot, .preflight, .verify: break
        case .restoreData: try removeNewData()
        case .stopControlPlane: return try returnControlPlane()
        case .stopEtcd: return try startOldEtcd()
        case .switchFiles: return try switchFilesBack()
        case .startEtcd: try stopNewEtcd()
        // The machine never goes back behind these.
        case .startControlPlane, .finish: break
        }
        return nil
    }

    /// On the way back. One of several is healthy only with the others, and they may take longer or need a person: that
    /// is told, and this node has done its part.
    func asFarAsItGoes(_ wait: () throws(FleetError) -> Void) throws(FleetError) -> String? {
        guard work.isMember else {
            try wait()
            return nil
        }
        do throws(FleetError) { try wait() } catch { return "not healthy yet: \(error.message)" }
        return nil
    }

    /// Everything is restored and serves: what can't be tidied up is told and changes nothing of that.
    private func finish() -> String? {
        try? FileSystem.removeTree(paths.spool(work.job))
        try? removeHoldingDirectory()
        return leftovers
    }

    /// What there is to remove by hand, nil when there is nothing.
    var leftovers: String? {
        let paths = [paths.spool(work.job), work.holdingDirectory].filter { !$0.isEmpty && FileSystem.exists($0) }
        return paths.isEmpty ? nil : "could not remove \(paths.joined(separator: ", ")): remove it by hand"
    }
}

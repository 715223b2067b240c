internal import FleetSystem

/// Does what the machine decides, on this node. Every step can be done again from any state that a crash may leave,
/// and every wait ends after `waitSeconds`. All of it blocks. What needs the connection is not here: the
/// safety snapshot and the fetch.
struct RestoreSteps: Sendable {
    var work: RestoreWork
    var paths: AgentPaths
    var faults = FaultInjection.none
    /// Where the host's tools of etcd are.
    var toolDirectories = ToolFinder.directories

    func perform(_ step: RestoreStep) throws(FleetError) -> StepReport {
        switch step {
        case .safetySnapshot, .fetch: StepReport()
        case .checkSnapshot: StepReport(note: try checkSnapshot())
        case .preflight: StepReport(note: work.undoes == nil ? try preflight() : try checkUndo())
        case .restoreData: StepReport(note: try restoreData())
        case .stopControlPlane: StepReport(note: try stopControlPlane())
        case .stopEtcd: StepReport(note: try stopEtcd())
        case .switchFiles: StepReport(note: try switchFiles())
        case .startEtcd: StepReport(note: try startNewEtcd())
        case .verify: try verify()
        case .startControlPlane: StepReport(note: try startControlPlane())
        case .finish: StepReport(note: finish())
        }
    }

    @discardableResult
    func undo(_ step: RestoreStep) throws(FleetError) -> StepReport {
        switch step {
        case .safetySnapshot, .fetch: try FileSystem.removeTree(paths.spool(work.job))
        case .checkSnapshot, .preflight, .verify: break
        case .restoreData: try removeNewData()
        case .stopControlPlane: return try returnControlPlane()
        case .stopEtcd: return try startOldEtcd()
        case .switchFiles: return StepReport(note: try switchFilesBack())
        case .startEtcd: try stopNewEtcd()
        // The machine never goes back behind these.
        case .startControlPlane, .finish: break
        }
        return StepReport()
    }

    /// On the way back. One of several is healthy only with the others, and they may take longer or need a person: that
    /// is told, and this node has done its part.
    ///
    /// - Parameter what: is not healthy when the wait fails; nil where the error names it.
    func asFarAsItGoes(
        _ what: String? = nil, _ wait: () throws(FleetError) -> Void
    ) throws(FleetError) -> StepReport {
        do throws(FleetError) { try wait() } catch {
            guard work.isMember else { throw error }
            let words =
                what.map { "\($0) was not healthy within \(work.waitSeconds) s: \(error.message)" } ?? error.message
            return StepReport(note: words, unhealthy: words)
        }
        return StepReport()
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

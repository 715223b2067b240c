internal import FleetSystem

/// Does what the machine decides, on this node. Every step can be done again from any state that a crash may leave,
/// and every wait ends after `waitSeconds`. All of it blocks. The fetch is not here: it needs the connection.
struct RestoreSteps: Sendable {
    var work: RestoreWork
    var paths: AgentPaths

    /// - Returns: a note for the journal and for people, where there is something to say.
    func perform(_ step: RestoreStep) throws(FleetError) -> String? {
        switch step {
        case .fetch: nil
        case .checkSnapshot: try checkSnapshot()
        case .preflight: try preflight()
        case .restoreData: try restoreData()
        case .stopControlPlane: try stopControlPlane()
        case .stopEtcd: try stopEtcd()
        case .switchFiles: try switchFiles()
        case .startEtcd: try startNewEtcd()
        case .verify: try verify()
        case .startControlPlane: try startControlPlane()
        case .finish: try finish()
        }
    }

    func undo(_ step: RestoreStep) throws(FleetError) {
        switch step {
        case .fetch: try FileSystem.removeTree(paths.spool(work.job))
        case .checkSnapshot, .preflight, .verify: break
        case .restoreData: try removeNewData()
        case .stopControlPlane: try returnControlPlane()
        case .stopEtcd: try startOldEtcd()
        case .switchFiles: try switchFilesBack()
        case .startEtcd: try stopNewEtcd()
        // The machine never goes back behind these.
        case .startControlPlane, .finish: break
        }
    }

    private func finish() throws(FleetError) -> String? {
        try FileSystem.removeTree(paths.spool(work.job))
        try removeHoldingDirectory()
        return nil
    }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// The plan of a restore in a file, for whoever is to look at it before it is done: what would be shown here, of whom it is,
/// and the command that does it. Its tokens and ids are those of that plan; the restore itself makes its own.
enum RestorePlanFile {
    /// - Throws: `already-exists`, before anything is asked of the coordinator.
    static func check(_ path: String) throws(FleetError) {
        guard try FileSystem.status(path) == nil else {
            throw FleetError(.alreadyExists, "\(path) is there already", hint: "name another file for the plan")
        }
    }

    static func text(_ heading: [String], _ job: JobRecord, isProtected: Bool = false, command: String) -> String {
        let plans = (job.members ?? [job]).compactMap { $0.outcome?.plan }
        let lines =
            ["planned   \(job.created) by \(job.requestedBy), job \(job.id); nothing was changed"] + heading
            + (isProtected ? ["approve   fleetctl restore approve \(job.id), by another operator"] : [])
            + ["to do it  \(command)", ""] + RestorePlanText.lines(plans).map(Terminal.clean)
        return lines.joined(separator: "\n")
    }

    static func write(_ text: String, to path: String) throws(FleetError) {
        try check(path)
        try FileSystem.writeDurably(path, Array((text + "\n").utf8))
    }
}

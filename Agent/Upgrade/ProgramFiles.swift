import FleetCrypto
import FleetProtocol
import FleetSystem

/// The agent's programs on its node, `program/` of the state directory:
///
///     choice.json             which one runs, see `ProgramChoice`
///     SHA-256/fleet-agent     what upgrades have brought
///
/// The installed one is not among them: it belongs to the system's packages, and is what is left where all of this is lost.
struct ProgramFiles: Sendable {
    let directory: String

    var choice: String { directory + "/choice.json" }
    func directory(_ sha256: String) -> String { directory + "/" + sha256 }
    func program(_ sha256: String) -> String { directory(sha256) + "/fleet-agent" }
    /// On its way here.
    func part(_ sha256: String) -> String { program(sha256) + ".part" }

    /// - Throws: `malformed`, and what reading a file does.
    func read() throws(FleetError) -> ProgramChoice {
        guard try FileSystem.status(choice) != nil else { return ProgramChoice() }
        do throws(FleetError) {
            return try JSON.decode(ProgramChoice.self, from: try FileSystem.read(choice, limit: 1 << 20))
        } catch { throw error.during(choice) }
    }

    func write(_ value: ProgramChoice) throws(FleetError) {
        try FileSystem.makeDirectories(directory)
        try FileSystem.writeDurably(choice, try JSON.encode(value, pretty: true))
    }

    /// All but these; what can't be removed is tried again the next time.
    func clean(keeping kept: Set<String>) throws(FleetError) {
        guard FileSystem.exists(directory) else { return }
        for name in try FileSystem.list(directory) where ProgramRecord.isDigest(name) && !kept.contains(name) {
            try FileSystem.removeTree(directory(name))
        }
    }

    /// Whether a program on the disk is the one that the coordinator has signed for this node.
    ///
    /// - Throws: `bad-signature`, `wrong-node`, `program-damaged`.
    func check(_ program: ProgramChoice.Program, _ gate: JobGate) throws(FleetError) {
        let job = try gate.job(of: program.envelope)
        guard job.id == program.job, case .upgrade(let order) = job.operation, order.program == program.record else {
            throw FleetError(.programDamaged, "the job that it came with does not name it", hint: "upgrade again")
        }
        let path = self.program(program.record.sha256)
        guard let status = try FileSystem.status(path, following: false), status.kind == .file else {
            throw FleetError(.programDamaged, "\(path) is gone", hint: "upgrade again")
        }
        let file = try HashedFile(reading: path)
        while !(try file.read(1 << 20)).isEmpty {}
        guard file.length == program.record.size, file.digest == program.record.sha256 else {
            throw FleetError(.programDamaged, "\(path) is not what was signed", hint: "upgrade again")
        }
    }

    /// SHA-256 and architecture of the file that runs.
    static func own() throws(FleetError) -> (sha256: String, architecture: String) {
        let file = try HashedFile(reading: Execution.own)
        let header = try file.read(64)
        while !(try file.read(1 << 20)).isEmpty {}
        return (file.digest, try ProgramScan.architecture(header))
    }
}

extension FleetError.Code {
    /// A program of the agent is not, byte for byte, the one that was signed.
    static let programDamaged: Self = "program-damaged"
}

extension AgentPaths {
    /// The agent's own programs; `programs` are etcd's.
    var ownPrograms: ProgramFiles { ProgramFiles(directory: state + "/program") }
}

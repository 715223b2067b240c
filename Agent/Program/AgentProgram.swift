public import FleetCommandLine
import FleetProtocol
import FleetSystem

/// The command tree of `fleet-agent`.
public enum AgentProgram {
    public static let command = Command(
        "fleet-agent", "Back up and restore the etcd of this node, as a coordinator asks",
        examples: [
            .init("fleet-agent discover", "what is known of this node's etcd, and where it was found"),
            .init("fleet-agent enroll -", "join the fleet; the token comes from 'fleetctl agent token CLUSTER'"),
        ],
        subcommands: [discoverCommand, enrollCommand, runCommand, decideCommand])

    /// By which the program's file tells its version to whoever does not run it (`ProgramScan`). One literal, which names
    /// `FleetVersion.current` once more.
    static let mark = "etcd-backup-fleet program fleet-agent 0.1.0;"

    static let stateOption = Command.Option(
        "state", value: "DIR", "where keys, journals and tools are kept (default \(AgentPaths.standardState))")
    static let spoolOption = Command.Option(
        "spool", value: "DIR",
        "where snapshots lie on their way; needs twice etcd's database (default: spool/ of --state)")

    static let programsOption = Command.Option(
        "etcd-programs", value: "DIR",
        "where etcd, etcdctl and etcdutl are for drills, besides the usual directories")

    static func paths(_ call: Invocation) -> AgentPaths {
        AgentPaths(
            state: call.value("state") ?? AgentPaths.standardState, spool: call.value("spool"),
            programs: call.value("etcd-programs"))
    }
}

extension AgentPaths {
    var identity: String { state + "/identity" }
}

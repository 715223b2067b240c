public import FleetCommandLine
import FleetSystem

/// The command tree of `fleet-coordinator`.
public enum CoordinatorProgram {
    public static let command = Command(
        "fleet-coordinator", "Keep the inventory, the snapshots and the audit log of a fleet",
        examples: [
            .init("fleet-coordinator init --advertise fleet.example.org:7400", "once, on a new coordinator"),
            .init("systemctl enable --now fleet-coordinator", "from then on"),
        ],
        subcommands: [
            initCommand, serveCommand, rebuildCommand, exportCommand, restoreCommand, rekeyCommand,
            authorityCommand,
        ])

    static let dataOption = Command.Option(
        "data", value: "DIR", "where everything is kept (default /var/lib/fleet-coordinator)")

    static func directory(_ call: Invocation) -> DataDirectory {
        DataDirectory(path: call.value("data") ?? "/var/lib/fleet-coordinator")
    }
}

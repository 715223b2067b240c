public import FleetCommandLine
import FleetSystem

/// The command tree of `fleet-coordinator`.
public enum CoordinatorProgram {
    public static let command = Command("fleet-coordinator", "Keep the inventory, the snapshots and the audit log of a fleet", subcommands: [])
}

import FleetCommandLine
import FleetProtocol
import FleetSystem

let discoverCommand = Command(
    "discover", "Show the etcd of this node and where each value comes from",
    discussion: """
        Looks at the running process, the static pod's manifest and the systemd unit with its drop-ins, environment and
        configuration files. What can't be found, or is found twice, is an error with a name, never a guess. Nothing is
        changed.
        """,
    options: [
        .init("root", value: "DIR", "look at a copy of a node's file system instead of this node"),
        AgentProgram.stateOption,
        .init("output", short: "o", value: "FORMAT", "how to print", choices: ["table", "json"]),
    ],
    examples: [
        .init("fleet-agent discover", "this node's etcd"),
        .init("fleet-agent discover --root /mnt/node -o json", "a copy's, for a script"),
    ]
) { call in
    let root = call.value("root") ?? "/"
    let paths = AgentProgram.paths(call)
    let (found, restore) = try await onDisk { () throws(FleetError) in
        do throws(FleetError) {
            var found = try Discovery.discover(root: root)
            found.instance.restoreProblem = RestorePlanner.obstacle(found)
            return (found, root == "/" ? JournalledRestore.unfinished(paths)?.standing : nil)
        } catch { throw root == "/" ? JournalledRestore.explain(error, paths) : error }
    }
    if call.value("output") == "json" {
        call.terminal.print(try JSON.text(found.instance, pretty: true))
    } else {
        call.terminal.printRaw(DiscoveryReport.text(found.instance))
    }
    if root == "/", found.instance.restoreProblem == nil {
        // This command is not held to what the unit lets the agent write.
        call.terminal.note("whether the agent's service can restore it too is what 'fleetctl status' shows")
    }
    if let restore {
        call.terminal.note("CAUTION: \(restore): what is found meanwhile is neither what was nor what will be")
    }
    return .success
}

import FleetCommandLine
import FleetSystem

await Program.main(
    Command(
        "fleet-bench", "Measure the fleet's own parts on this machine",
        subcommands: [idleAgentsCommand, streamCommand]), version: FleetVersion.current)

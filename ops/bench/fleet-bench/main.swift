import FleetCommandLine
import FleetSystem

await Program.main(
    Command(
        "fleet-bench", "Measure the fleet's own parts on this machine",
        subcommands: [idleAgentsCommand, streamCommand, repositoryCommand]), version: FleetVersion.current)

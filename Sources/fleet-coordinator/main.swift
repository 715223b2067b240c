import FleetCommandLine
import FleetCoordinator
import FleetSystem

await Program.main(CoordinatorProgram.command, version: FleetVersion.current)

import FleetCommandLine
import FleetControl
import FleetSystem

await Program.main(Fleetctl.command, version: FleetVersion.current)

import FleetCommandLine
import FleetCoordinator
import FleetSystem

// Before there is another thread.
Memory.keepSmall()
await Program.main(CoordinatorProgram.command, version: FleetVersion.current)

import FleetAgent
import FleetCommandLine
import FleetSystem

await Program.main(AgentProgram.command, version: FleetVersion.current)

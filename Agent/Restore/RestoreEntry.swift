internal import FleetProtocol
internal import FleetSystem

/// What the journal of a restore holds, in the order in which it became true. The state of a restore is these records
/// and nothing else.
enum RestoreEntry: Codable, Sendable, Equatable {
    case planned(RestoreWork, boot: BootIdentity)
    /// The agent found the journal after its own end or the machine's.
    case resumed(boot: BootIdentity, expired: Bool)
    /// Written before the step touches anything.
    case started(RestoreStep)
    case done(RestoreStep, note: String?, remark: String? = nil)
    case failed(RestoreStep, FleetError)
    case undoStarted(RestoreStep)
    case undone(RestoreStep, remark: String? = nil, unhealthy: String? = nil)
    case undoFailed(RestoreStep, FleetError)
    /// The coordinator's word, in a restore of several members.
    case decided(RestoreDecision)
    case concluded(RestoreMachine.Verdict)
}

/// Which run of the machine this is. In a container the kernel's boot id outlives a restart of the "machine", so the
/// start of its first process is looked at too.
struct BootIdentity: Codable, Sendable, Equatable {
    var bootID: String
    /// Clock ticks.
    var firstProcessStart: UInt64

    static func current() throws(FleetError) -> BootIdentity {
        let id = try FileSystem.readText("/proc/sys/kernel/random/boot_id")
        return BootIdentity(
            bootID: String(id.prefix { !$0.isNewline }), firstProcessStart: ProcessTable.startTime(1) ?? 0)
    }
}

import FleetProtocol
import FleetSystem

/// What has to be done after something happened to a job; it is durable already.
struct JobEffect: Sendable, Equatable {
    /// To sign and to send, after `willSend`.
    var deliver: Job?
    /// The job as it ended, for whoever waits for it.
    var closed: JobRecord?
    /// Members' jobs whose agents are to be told what was decided.
    var decide: [String] = []
    /// For those who watch: what was decided.
    var news: [JobEvent] = []
    /// The same as `closed` of a restore of several members, or of a replacement.
    var closedRestore: JobRecord?
    /// Acts of a replacement that were made: to sign and to send.
    var begun: [Job] = []
}

/// A node of the fleet: names of nodes are unique in their cluster only.
struct NodeName: Hashable, Sendable, CustomStringConvertible {
    var cluster: String
    var node: String
    var description: String { "\(cluster)/\(node)" }
}

/// What one job may tell: an agent that went wild must not fill the coordinator's disk. What a decision or an end waits for
/// has room of its own, behind however many events of an agent that was killed again and again.
enum EventLimits {
    static let count = 10_000
    /// Of one event as JSON.
    static let bytes = 64 << 10
    /// The last one may carry a restore's plan with the files that it changes; no frame holds more.
    static let outcomeBytes = 256 << 10
    static let totalBytes = 8 << 20
}

extension JobEvent {
    /// Without it a job would never come to its end.
    var isWanted: Bool { kind == .reached || kind == .held || kind == .outcome }
}

/// The agent's own directories on its node.
public struct AgentPaths: Sendable, Equatable {
    public static let standardState = "/var/lib/fleet-agent"

    /// Keys, counter, journals, tools: small, durable, 0700.
    public var state: String
    /// Snapshots on their way to the coordinator or from it: as large as etcd's database.
    public var spool: String

    /// Where etcd and its tools are besides the usual directories: for drills.
    public var programs: String?

    public init(state: String = standardState, spool: String? = nil, programs: String? = nil) {
        self.programs = programs
        self.state = state
        self.spool = spool ?? state + "/spool"
    }

    /// The spool may be a directory that others use too: only names with this prefix are the agent's.
    static let spoolPrefix = "fleet-job-"

    public var tools: String { state + "/tools" }
    public var jobs: String { state + "/jobs" }
    public func job(_ id: String) -> String { jobs + "/" + id }
    /// The spool directory of one job; it goes with the job.
    public func spool(_ job: String) -> String { spool + "/" + Self.spoolPrefix + job }
    public func snapshot(_ job: String) -> String { spool(job) + "/snapshot.db" }
}

extension AgentPaths {
    /// The files of a job.
    func events(_ job: String) -> String { self.job(job) + "/events" }
    func journal(_ job: String) -> String { self.job(job) + "/journal" }
    /// The envelope as it was accepted.
    func envelope(_ job: String) -> String { self.job(job) + "/envelope" }
    /// Of a drill: all that its etcd has, for nobody but root.
    func drill(_ job: String) -> String { spool(job) + "/drill" }
    var counter: String { state + "/counter" }
    /// What this node keeps of the replacement of its member, see `JoinRecord`.
    var joining: String { state + "/joining" }
    /// The same of one that was carried to its end, until its old data is signed off.
    func replaced(_ replacement: String) -> String { state + "/replaced/" + replacement }
}

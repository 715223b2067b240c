public import FleetSystem

/// What agent and coordinator ask of each other. Each request names its method; a method has one request and one
/// reply type, both JSON. The list is the whole vocabulary of an agent's connection.
public enum Method {
    /// Without a client certificate; the only method that such a connection may call.
    public static let enroll = "enroll"
    public static let register = "agent.register"
    public static let deliver = "job.deliver"
    public static let decide = "job.decide"
    public static let event = "job.event"
    public static let upload = "snapshot.upload"
    public static let fetch = "snapshot.fetch"
    public static let fetchProgram = "program.fetch"
    /// Answered as an enrolment is; the certificate that asks stays good until the new one is used.
    public static let renew = "certificate.renew"
}

/// Exchanges a join token for a client certificate.
public struct EnrollRequest: Codable, Sendable {
    public var token: String
    /// The host's name for an agent; ignored for an operator, whose name the token carries.
    public var name: String
    /// PEM of a PKCS #10 request; only its public key is taken from it.
    public var request: String
    /// What the token should be for: one for the other is refused and not spent. nil: whatever it is for.
    public var role: Role?

    public init(token: String, name: String, request: String, role: Role? = nil) {
        self.token = token
        self.name = name
        self.request = request
        self.role = role
    }
}

/// Exchanges a certificate that still stands for one that stands longer.
public struct RenewRequest: Codable, Sendable {
    /// PEM of a PKCS #10 request; only its public key is taken from it.
    public var request: String
    public init(request: String) { self.request = request }
}

public struct EnrollReply: Codable, Sendable {
    /// The node's or the operator's name as the certificate says it.
    public var name: String
    /// The node's cluster; nil for an operator.
    public var cluster: String?
    /// PEM.
    public var certificate: String
    /// PEM of the certificate authority, whose fingerprint the token carried.
    public var authority: String
    /// The Ed25519 public key (32 bytes, base64) that signs jobs, pinned from here on.
    public var jobKey: String
    /// Of a renewal: an `AuthorityStatement` for `authority`, where that is not the one that the asking certificate is of.
    public var statement: Envelope?

    public init(name: String, cluster: String?, certificate: String, authority: String, jobKey: String) {
        self.name = name
        self.cluster = cluster
        self.certificate = certificate
        self.authority = authority
        self.jobKey = jobKey
    }
}

/// Sent by the agent first on every connection, and again when what it says has changed.
public struct RegisterRequest: Codable, Sendable, Equatable {
    public var agentVersion: String
    public var instance: EtcdInstance?
    /// Why there is no `instance`.
    public var discoveryError: FleetError?
    /// Jobs that this agent has accepted and whose outcome the coordinator has not acknowledged yet.
    public var activeJobs: [String]
    /// The last job counter that the agent persisted: the coordinator goes on above it.
    public var lastCounter: UInt64
    /// Versions of etcd that it can start in a drill, with the tools that go with them; nil from older agents.
    public var drillVersions: [String]?
    /// Which program this is; nil from agents that can't be upgraded by a job.
    public var program: RunningProgram?
    /// Of every certificate that was found on the node; nil from older agents, and while a restore keeps it from looking.
    public var certificates: [CertificateExpiry]?

    public init(
        agentVersion: String, instance: EtcdInstance?, discoveryError: FleetError?, activeJobs: [String],
        lastCounter: UInt64, drillVersions: [String]? = nil, program: RunningProgram? = nil
    ) {
        self.agentVersion = agentVersion
        self.instance = instance
        self.discoveryError = discoveryError
        self.activeJobs = activeJobs
        self.lastCounter = lastCounter
        self.drillVersions = drillVersions
        self.program = program
    }
}

/// What a registration is answered with.
public struct RegisterReply: Codable, Sendable {
    /// The SHA-256 of the authority's certificate in force: an agent that knows another one renews its certificate now, and
    /// learns of it so. nil from older coordinators.
    public var authority: String?
    public init(authority: String?) { self.authority = authority }
}

/// The coordinator's word, signed with its job key, for the authority that it is known by from now on.
public struct AuthorityStatement: Codable, Sendable, Equatable {
    /// PEM.
    public var authority: String
    public init(authority: String) { self.authority = authority }
}

public struct DeliverRequest: Codable, Sendable {
    public var envelope: Envelope
    public init(envelope: Envelope) { self.envelope = envelope }
}

/// Opens an upload. The reply (a message on the stream) says from which offset on the bytes are wanted.
public struct UploadRequest: Codable, Sendable {
    public var job: String
    public var snapshot: String
    public var facts: SnapshotFacts

    public init(job: String, snapshot: String, facts: SnapshotFacts) {
        self.job = job
        self.snapshot = snapshot
        self.facts = facts
    }
}

public struct UploadOffset: Codable, Sendable {
    /// All of the file before this is on the coordinator's disk already.
    public var offset: Int64
    public init(offset: Int64) { self.offset = offset }
}

/// Ends a stream of bytes in either direction: the whole file's length and digest, from its first byte on.
public struct StreamDigest: Codable, Sendable, Equatable {
    public var length: Int64
    /// SHA-256, lower-case hexadecimal.
    public var sha256: String

    public init(length: Int64, sha256: String) {
        self.length = length
        self.sha256 = sha256
    }
}

/// The snapshot is durable in the store and in the catalogue: the agent may delete its spool.
public struct UploadReceipt: Codable, Sendable {
    public var snapshot: String
    public init(snapshot: String) { self.snapshot = snapshot }
}

public struct FetchRequest: Codable, Sendable {
    /// The restore or drill that needs it: a node gets no snapshot that no job of its own names.
    public var job: String
    public var snapshot: String
    public var offset: Int64

    public init(job: String, snapshot: String, offset: Int64) {
        self.job = job
        self.snapshot = snapshot
        self.offset = offset
    }
}

/// A reply that says no more than that it was done.
public struct Acknowledgement: Codable, Sendable {
    public init() {}
}

public import FleetSystem

extension ControlMethod {
    public static let listAlertTargets = "alert.list"
    /// A webhook; a request that names one that is there replaces it.
    public static let setWebhook = "alert.webhook"
    /// A program of the coordinator's host.
    public static let setAlertCommand = "alert.command"
    public static let removeAlertTarget = "alert.remove"
    public static let testAlertTarget = "alert.test"
    /// Behind a coordinator that was put back from a copy.
    public static let resumeAlerts = "alert.resume"
}

/// Where alerts are sent.
public struct AlertTarget: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable { case webhook, command }
    public var name: String
    public var kind: Kind
    /// The program's path; of a webhook its host alone, since many have a secret in their path.
    public var place: String
    public var created: Timestamp
    /// The last message that was taken.
    public var delivered: Timestamp?
    /// Messages that wait.
    public var waiting: Int
    /// What came of the last that it did not take, and since when there are such; nil where none of those that wait was tried.
    public var problem: FleetError?
    public var since: Timestamp?

    public init(
        name: String, kind: Kind, place: String, created: Timestamp, delivered: Timestamp? = nil, waiting: Int = 0,
        problem: FleetError? = nil, since: Timestamp? = nil
    ) {
        self.name = name
        self.kind = kind
        self.place = place
        self.created = created
        self.delivered = delivered
        self.waiting = waiting
        self.problem = problem
        self.since = since
    }
}

public struct WebhookRequest: Codable, Sendable {
    public var name: String
    /// https, or http where `allowsHTTP`.
    public var url: String
    /// PEM of the authorities that are trusted for it instead of the system's.
    public var authorities: String?
    public var allowsHTTP: Bool?
    public init(name: String, url: String, authorities: String? = nil, allowsHTTP: Bool? = nil) {
        self.name = name
        self.url = url
        self.authorities = authorities
        self.allowsHTTP = allowsHTTP
    }
}

public struct AlertCommandRequest: Codable, Sendable {
    public var name: String
    /// The absolute path of a program on the coordinator's host. It is given a message on standard input and no argument.
    public var program: String
    public init(name: String, program: String) {
        self.name = name
        self.program = program
    }
}

public struct WebhookReply: Codable, Sendable {
    public var target: AlertTarget
    /// With which its messages are signed; told this once.
    public var secret: String
    public init(target: AlertTarget, secret: String) {
        self.target = target
        self.secret = secret
    }
}

/// What is sent: the body of a webhook's request, and what a command reads.
public struct AlertMessage: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable {
        /// Again with the same key: it is worse than it was told to be.
        case firing
        /// It is over.
        case over
        case test
    }
    /// Of this form; a new one only where an old reader would misread it.
    public var version = 1
    /// The coordinator, as agents know it.
    public var fleet: String
    public var state: State
    /// What kind of concern it is: "objective-broken".
    public var alert: String
    /// The same in every message about one matter, until the one that says that it is over.
    public var key: String
    public var cluster: String?
    public var node: String?
    /// When it was first seen; of one that is over too.
    public var since: Timestamp
    /// When this was written.
    public var time: Timestamp
    /// What is wrong and what to do, for people, on one line.
    public var text: String
    /// What to do; not there where there is nothing.
    public var action: String?

    public init(
        fleet: String, state: State, alert: String, key: String, cluster: String?, node: String?, since: Timestamp,
        time: Timestamp, text: String, action: String?
    ) {
        self.fleet = fleet
        self.state = state
        self.alert = alert
        self.key = key
        self.cluster = cluster
        self.node = node
        self.since = since
        self.time = time
        self.text = text
        self.action = action
    }
}

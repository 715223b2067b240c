public import FleetSystem

extension ControlMethod {
    public static let setRetention = "retention.set"
    public static let listRetention = "retention.list"
    public static let applyRetention = "retention.apply"
    public static let pinSnapshot = "snapshot.pin"
    public static let deleteSnapshot = "snapshot.delete"
}

public struct DeletionRequest: Codable, Sendable {
    /// A snapshot's id, or a unique beginning of it.
    public var name: String
    /// Also the newest verified one of a cluster that has no agent any more. nil: no.
    public var newestToo: Bool?
    public init(name: String, newestToo: Bool? = nil) {
        self.name = name
        self.newestToo = newestToo
    }
}

/// How many restore points of a cluster are kept, and in what distance.
public struct RetentionPolicy: Sendable, Equatable, Codable {
    /// The newest ones, whatever their distance.
    public var last: Int
    /// The newest of each of so many hours, days, weeks, months, years (UTC; weeks begin on Monday) that have any.
    public var hourly: Int
    public var daily: Int
    public var weekly: Int
    public var monthly: Int
    public var yearly: Int

    public init(
        last: Int = 0, hourly: Int = 0, daily: Int = 0, weekly: Int = 0, monthly: Int = 0, yearly: Int = 0
    ) {
        self.last = last
        self.hourly = hourly
        self.daily = daily
        self.weekly = weekly
        self.monthly = monthly
        self.yearly = yearly
    }

    /// "last 7, daily 14, weekly 8"
    public var text: String {
        [
            ("last", last), ("hourly", hourly), ("daily", daily), ("weekly", weekly), ("monthly", monthly),
            ("yearly", yearly),
        ].filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
    }
}

/// A cluster and its policy: as it is, or as it is to be.
public struct RetentionRecord: Codable, Sendable {
    public var cluster: String
    /// nil: nothing is deleted by policy.
    public var policy: RetentionPolicy?
    /// Everything is kept, whatever the policy that the cluster follows says. In a request without a policy, `false` is
    /// to inherit, and to leave it out is to keep everything: an older program means that.
    public var keepsAll: Bool?
    /// The fleet's policy that it comes from; nil where it was set for the cluster itself.
    public var from: String?
    public init(cluster: String, policy: RetentionPolicy?) {
        self.cluster = cluster
        self.policy = policy
    }
}

public struct RetentionRunRequest: Codable, Sendable {
    public var cluster: String
    /// The `RetentionReply.digest` that somebody has agreed to: delete that and nothing else. nil: only decide.
    public var confirmed: String?
    public init(cluster: String, confirmed: String? = nil) {
        self.cluster = cluster
        self.confirmed = confirmed
    }
}

/// What was decided of every snapshot of a cluster, newest first.
public struct RetentionReply: Codable, Sendable {
    public struct Line: Codable, Sendable, Equatable {
        public var snapshot: String
        public var savedAt: Timestamp
        public var isKept: Bool
        /// In words for a person.
        public var reasons: [String]
        /// Why it could not be deleted; nil where it was, or was not to be.
        public var problem: FleetError?
        public init(
            snapshot: String, savedAt: Timestamp, isKept: Bool, reasons: [String], problem: FleetError? = nil
        ) {
            self.snapshot = snapshot
            self.savedAt = savedAt
            self.isKept = isKept
            self.reasons = reasons
            self.problem = problem
        }
    }
    public var cluster: String
    public var policy: RetentionPolicy
    public var lines: [Line]
    /// Of the ids that are not kept, in hexadecimal: another set has another one.
    public var digest: String
    public init(cluster: String, policy: RetentionPolicy, lines: [Line], digest: String) {
        self.cluster = cluster
        self.policy = policy
        self.lines = lines
        self.digest = digest
    }
}

public struct PinRequest: Codable, Sendable {
    /// A snapshot's id or a unique beginning of it.
    public var name: String
    public var pinned: Bool
    public init(name: String, pinned: Bool) {
        self.name = name
        self.pinned = pinned
    }
}

import FleetCrypto
import FleetProtocol
import FleetSystem

/// The form of the chain.
///
/// An event's *body* is the JSON of `AuditEvent` in UTF-8: keys sorted, no white space, slashes plain, absent fields
/// left out, the time as ISO 8601 in UTC with milliseconds. The body is encoded once, stored as these bytes and never
/// encoded again: whoever checks the chain hashes what is stored. An event's *hash* is
///
///     SHA-256("etcd-backup-fleet audit v1\n" ‖ previous hash (32 bytes) ‖ body)
///
/// and the hash before the first event is 32 zero bytes. The body holds its own sequence number, from 1 without a gap.
/// The *head*, "SEQUENCE:HASH" of the last event, is kept apart from the events, so that a log that lost its tail can
/// be told from a shorter one.
enum AuditChain {
    static let genesis = [UInt8](repeating: 0, count: 32)
    private static let domain = Array("etcd-backup-fleet audit v1\n".utf8)

    static func hash(previous: [UInt8], body: [UInt8]) -> [UInt8] {
        var hasher = SHA256()
        hasher.update(domain)
        hasher.update(previous)
        hasher.update(body)
        return hasher.finalize()
    }

    /// An event as it is stored.
    struct Link: Sendable, Equatable {
        var sequence: Int64
        /// Copies of what the body says, by which the log is searched.
        var time: Timestamp
        var cluster: String?
        var body: [UInt8]
        var previous: [UInt8]
        var hash: [UInt8]

        init(
            sequence: Int64, time: Timestamp, cluster: String?, body: [UInt8], previous: [UInt8], hash: [UInt8]
        ) {
            self.sequence = sequence
            self.time = time
            self.cluster = cluster
            self.body = body
            self.previous = previous
            self.hash = hash
        }

        /// The event after `head`.
        init(_ event: AuditEvent, after head: Head) throws(FleetError) {
            body = try JSON.encode(event)
            sequence = event.sequence
            time = event.time
            cluster = event.cluster
            previous = head.hash
            hash = AuditChain.hash(previous: previous, body: body)
        }

        func record() throws(FleetError) -> AuditRecord {
            AuditRecord(event: try JSON.decode(AuditEvent.self, from: body), previous: previous.hex, hash: hash.hex)
        }
    }

    struct Head: Sendable, Equatable {
        var sequence: Int64
        var hash: [UInt8]

        static let empty = Head(sequence: 0, hash: genesis)

        init(sequence: Int64, hash: [UInt8]) {
            self.sequence = sequence
            self.hash = hash
        }

        init?(_ text: String) {
            let parts = text.split(separator: ":")
            guard parts.count == 2, let sequence = Int64(parts[0]), let hash = [UInt8](hex: parts[1]), hash.count == 32
            else { return nil }
            self.init(sequence: sequence, hash: hash)
        }

        var text: String { "\(sequence):\(hash.hex)" }
    }
}

/// Walks the chain, link by link, up to the first break. Pure: it is fed by whoever reads the database.
struct AuditWalk: Sendable {
    private var head = AuditChain.Head.empty
    private var lastTime: Timestamp?
    /// Of the last event that held; before the first, lower than any.
    var sequence: Int64 { head.sequence == 0 ? .min : head.sequence }
    /// nil before the first.
    var lastHash: [UInt8]? { head.sequence == 0 ? nil : head.hash }
    private(set) var firstBreak: AuditVerdict.Break?
    private var findings: [String] = []

    /// Findings beyond this are only counted: a clock that is wrong for a year must not fill the memory.
    private static let findingLimit = 100
    private var furtherFindings = 0

    /// - Returns: the event; nil where the chain does not hold here, or did not before.
    @discardableResult
    mutating func feed(_ link: AuditChain.Link) -> AuditEvent? {
        guard firstBreak == nil else { return nil }
        let expected = head.sequence + 1
        func found(_ kind: AuditVerdict.Break.Kind, _ message: String) -> AuditEvent? {
            firstBreak = AuditVerdict.Break(sequence: expected, kind: kind, message: message)
            return nil
        }
        guard link.sequence == expected else {
            return found(.removed, "event \(expected) is missing: event \(link.sequence) follows \(head.sequence)")
        }
        guard let event = try? JSON.decode(AuditEvent.self, from: link.body) else {
            return found(.edited, "event \(expected) is not an event any more")
        }
        guard event.sequence == link.sequence else {
            return found(.reordered, "event \(event.sequence) stands in the place of event \(expected)")
        }
        // The own hash first: where both are wrong, this event was touched; where only the link is, one before it was.
        guard AuditChain.hash(previous: link.previous, body: link.body) == link.hash else {
            return found(.edited, "the content of event \(expected) was changed")
        }
        guard event.time == link.time, event.cluster == link.cluster else {
            return found(.edited, "the time or cluster by which event \(expected) is found was changed")
        }
        guard link.previous == head.hash else {
            return found(.reordered, "event \(expected) was not written after the event \(head.sequence) that is there")
        }
        if let lastTime, event.time < lastTime {
            if findings.count < Self.findingLimit {
                findings.append("event \(expected) is dated \(event.time), before the one it follows (\(lastTime))")
            } else {
                furtherFindings += 1
            }
        }
        lastTime = max(lastTime ?? event.time, event.time)
        head = AuditChain.Head(sequence: link.sequence, hash: link.hash)
        return event
    }

    /// - Parameter recorded: the head that is kept apart; nil where it is not there.
    func finish(recorded: AuditChain.Head?) -> AuditVerdict {
        var broken = firstBreak
        if broken == nil, recorded ?? .empty != head {
            let recorded = recorded ?? .empty
            broken =
                recorded.sequence > head.sequence
                ? .init(
                    sequence: head.sequence + 1, kind: .truncated,
                    message: "events \(head.sequence + 1) to \(recorded.sequence) are missing at the end")
                : .init(
                    sequence: recorded.sequence + 1, kind: .head,
                    message: "the log goes on to event \(head.sequence), its recorded head is \(recorded.sequence)")
        }
        let further = furtherFindings > 0 ? ["\(furtherFindings) further times go back"] : []
        return AuditVerdict(
            events: head.sequence, head: head.hash.hex, firstBreak: broken, findings: findings + further)
    }
}

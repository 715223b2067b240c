import FleetCrypto
import FleetProtocol
import FleetSystem
import FleetWebhook

/// How a message reaches a target.
enum AlertRoute: Sendable, Equatable, Codable {
    case webhook(url: String, secret: String, authorities: String?, allowsHTTP: Bool)
    case command(program: String)

    static let commandDeadline = Duration.seconds(30)

    /// Blocks until it was taken.
    ///
    /// - Parameters:
    ///   - body: an AlertMessage, as it was written.
    ///   - id: the same each time that it is sent.
    /// - Throws: `webhook`, or what starting the command throws; without the address, the secret or the message.
    func send(_ body: [UInt8], id: String, now: Timestamp = .now()) throws(FleetError) {
        switch self {
        case .webhook(let url, let secret, let authorities, let allowsHTTP):
            try Webhook.post(
                Webhook.Request(
                    url: url, body: body,
                    headers: ["X-Fleet-Delivery: \(id)", "X-Fleet-Signature: \(Self.signature(body, secret, now))"],
                    authorities: authorities, allowsHTTP: allowsHTTP))
        case .command(let program):
            let outcome = try Subprocess.run(
                program, input: body, deadline: Self.commandDeadline, outputLimit: 64 << 10)
            guard outcome.succeeded else {
                let end = outcome.status.map { "status \($0)" } ?? "signal \(outcome.signal ?? 0)"
                let said = outcome.complaint
                throw FleetError(
                    .webhook, "\(program) ended with \(end)\(said.isEmpty ? "" : ": \(said)")",
                    hint: "it has to end with 0 where it has passed the message on", retryable: true)
            }
        }
    }

    /// The time is signed with the body, so that an old message can't be played again: "t=SECONDS,v1=HEX", where HEX is the
    /// HMAC-SHA256 of "SECONDS.BODY" by the secret as it was shown.
    static func signature(_ body: [UInt8], _ secret: String, _ now: Timestamp) -> String {
        let seconds = String(now.milliseconds / 1000)
        let code = HMACSHA256.code(of: Array("\(seconds).".utf8) + body, key: Array(secret.utf8))
        return "t=\(seconds),v1=\(code.hex)"
    }

    /// What may be shown of it, and be on record.
    var place: String {
        switch self {
        case .webhook(let url, _, _, let allowsHTTP): Webhook.host(url, allowsHTTP: allowsHTTP) ?? "unknown"
        case .command(let program): program
        }
    }

    var kind: AlertTarget.Kind {
        switch self {
        case .webhook: .webhook
        case .command: .command
        }
    }
}

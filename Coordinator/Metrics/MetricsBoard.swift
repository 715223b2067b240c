import FleetHTTP
import FleetSystem

/// The last page of metrics: a scrape is answered with it at once, however busy the catalogue is, and tells how old it is.
final class MetricsBoard: Sendable {
    /// Older than this, the coordinator is not what it says.
    static let freshness = Duration.seconds(300)

    private let page = Monitor<(text: String, made: ContinuousClock.Instant)?>(nil)

    func put(_ text: String) { page.withLock { $0 = (text, .now) } }

    /// `/metrics`; `/healthz`, while the process answers; `/readyz`, while what it says is fresh.
    func answer(_ path: String, now: ContinuousClock.Instant = .now) -> HTTPServer.Reply? {
        let last = page.withLock(\.self)
        let age = last.map { now - $0.made }
        switch path {
        case "/metrics":
            guard let last else { return HTTPServer.Reply("no figures yet\n", status: 503) }
            return HTTPServer.Reply(last.text, type: "text/plain; version=0.0.4; charset=utf-8")
        case "/healthz": return HTTPServer.Reply("ok\n")
        case "/readyz":
            guard let age, age < Self.freshness else {
                let since = age.map { "for \(Int($0.seconds)) s" } ?? "yet"
                return HTTPServer.Reply("the catalogue has not answered \(since)\n", status: 503)
            }
            return HTTPServer.Reply("ready\n")
        default: return nil
        }
    }
}

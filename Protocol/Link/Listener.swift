public import FleetReactor
public import FleetSystem
public import FleetTLS

/// Accepts connections. Each is handed on once both sides have greeted; one that never does is closed after the
/// handshake limit, and there are only so many of those at once.
@Reactor public final class Listener: EventHandler {
    /// Called for each connection that greeted, on a task of its own.
    public typealias Accepted = @Sendable (Connection) async -> Void

    public let port: UInt16
    private let socket: Descriptor
    private let tls: TLSContext?
    private let options: Connection.Options
    private let handler: Connection.Handler
    private let accepted: Accepted
    private let log: Log
    /// Connections that have not greeted yet: the only ones that a stranger can make.
    private var greeting = 0
    private let greetingLimit: Int
    private var registration: Registration?

    /// - Parameter tls: nil only for a Unix socket.
    public init(
        _ socket: consuming Descriptor, tls: TLSContext?, options: Connection.Options, greetingLimit: Int = 1024,
        log: Log, handler: @escaping Connection.Handler, accepted: @escaping Accepted
    ) throws(FleetError) {
        port = Socket.localPort(socket)
        let raw = socket.raw
        self.socket = socket
        self.tls = tls
        self.options = options
        self.greetingLimit = greetingLimit
        self.log = log
        self.handler = handler
        self.accepted = accepted
        registration = try Registration(raw, self)
    }

    public func ready(read: Bool, write: Bool) {
        // A bounded number at a time: who is connected already must be served too.
        for _ in 0..<64 {
            do throws(FleetError) {
                guard greeting < greetingLimit else { return pause("too many connections that have not greeted") }
                guard let incoming = try Socket.accept(socket) else { return }
                let connection = try Connection(
                    socket: incoming, tls: tls, side: .listener, connecting: false, options: options, handler: handler)
                greeting += 1
                Task { await self.greet(connection) }
            } catch {
                // Out of descriptors, mostly: whoever waits in the backlog is taken when some are free again.
                return pause(error.message)
            }
        }
    }

    private func greet(_ connection: Connection) async {
        defer { greeting -= 1 }
        do throws(FleetError) { try await connection.opened() } catch {
            return log.warning("a connection did not greet: \(error.message)", ["code": error.code.rawValue])
        }
        let accepted = self.accepted
        Task.detached { await accepted(connection) }
    }

    private func pause(_ reason: String) {
        log.warning("accepting no connections for a second: \(reason)")
        registration?.watch(read: false, write: false)
        _ = ReactorTimer(after: .seconds(1)) { [weak self] in self?.registration?.watch(read: true, write: false) }
    }

    public func stop() {
        registration?.cancel()
        registration = nil
    }
}

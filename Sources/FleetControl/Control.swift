internal import FleetCommandLine
internal import FleetProtocol
internal import FleetReactor
internal import FleetSystem

/// The coordinator as a command uses it: a connection that is made again when it was lost, since a backup of a fleet
/// outlives a restart of its coordinator.
actor Control {
    private let dial: @Sendable () async throws(FleetError) -> Connection
    private var connection: Connection?

    init(_ dial: @escaping @Sendable () async throws(FleetError) -> Connection) async throws(FleetError) {
        self.dial = dial
        connection = try await dial()
    }

    /// false behind an attempt that ended because there was none, and none could be made.
    var isConnected: Bool {
        get async {
            guard let connection else { return false }
            return await !connection.isClosed
        }
    }

    /// The connection as it is, or a new one.
    ///
    /// - Parameter attempts: to make one, a second apart.
    func connected(attempts: Int = 30) async throws(FleetError) -> Connection {
        if let connection, await !connection.isClosed { return connection }
        var failures = 0
        while true {
            do throws(FleetError) {
                let new = try await dial()
                connection = new
                return new
            } catch {
                failures += 1
                guard error.isRetryable || error.code == .notFound, failures < attempts else { throw error }
            }
            do { try await Task.sleep(for: .seconds(1)) } catch { throw FleetError(error) }
        }
    }

    /// One request, one reply; sent once, so that nothing is begun twice.
    nonisolated func call<Reply: Decodable & Sendable>(
        _ method: String, _ request: some Encodable & Sendable, as type: Reply.Type = Reply.self
    ) async throws(FleetError) -> Reply {
        try await connected().call(method, request, as: type)
    }

    /// One question that may be asked again: after a lost connection it is.
    nonisolated func ask<Reply: Decodable & Sendable>(
        _ method: String, _ request: some Encodable & Sendable, as type: Reply.Type = Reply.self, attempts: Int = 30
    ) async throws(FleetError) -> Reply {
        var tries = 0
        while true {
            let connection = try await connected(attempts: attempts)
            do throws(FleetError) { return try await connection.call(method, request, as: type) } catch {
                tries += 1
                guard await connection.isClosed, tries < 3 else { throw error }
            }
        }
    }
}

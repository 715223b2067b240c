internal import FleetCrypto
public import FleetReactor
public import FleetSystem
public import FleetTLS

/// Opens connections to a coordinator.
public enum Dialler {
    /// Whoever keeps a connection tries again so long behind a failure, or sooner.
    public static let longestPause = Duration.seconds(60)

    /// Tries each address of the name in turn until one greets.
    ///
    /// - Parameters:
    ///   - tls: nil only for a Unix socket.
    ///   - authorityFingerprint: for enrolment: the server's authority must be this one (`TLSContext.enrolling`).
    /// - Throws: the last error; `untrusted` at once, since another address would not be more trustworthy.
    public static func connect(
        _ address: Address, tls: TLSContext?, authorityFingerprint: String? = nil, options: Connection.Options,
        handler: @escaping Connection.Handler = refuse
    ) async throws(FleetError) -> Connection {
        let endpoints: [Socket.Endpoint]
        do { endpoints = try await Blocking.run { try Socket.resolve(address) } } catch { throw FleetError(error) }
        var last = FleetError(.notFound, "no address for \(address)")
        for endpoint in endpoints {
            do throws(FleetError) {
                return try await connect(endpoint, tls, authorityFingerprint, options, handler)
            } catch {
                last = error.during("connect to \(address)")
                if error.code == .untrusted || error.code == .protocolVersion { break }
            }
        }
        throw last
    }

    /// Serves nothing: for a side that only asks.
    public static func refuse(_ stream: Stream) async {
        await stream.fail(FleetError(.unknownMethod, "this side serves nothing, not even \(stream.method)"))
    }

    @Reactor private static func connect(
        _ endpoint: Socket.Endpoint, _ tls: TLSContext?, _ fingerprint: String?, _ options: Connection.Options,
        _ handler: @escaping Connection.Handler
    ) async throws(FleetError) -> Connection {
        let connection = try Connection(
            socket: try Socket.connect(endpoint), tls: tls, side: .dialler, connecting: true,
            authorityFingerprint: fingerprint, options: options, handler: handler)
        try await connection.opened()
        return connection
    }
}

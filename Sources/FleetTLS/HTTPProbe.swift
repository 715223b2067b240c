internal import COpenSSL
internal import FleetCrypto
public import FleetSystem
private import Glibc

extension FleetError.Code {
    /// Nobody listens there.
    static let connectionRefused: Self = "connection-refused"
}

/// One GET as the kubelet's probes make it: the answer's status is all that counts, and over HTTPS the server's
/// certificate is not verified, for nothing secret is said and nothing that is heard is believed but "ready".
public enum HTTPProbe {
    /// Blocks no longer than about `seconds` for each of connecting, asking and hearing.
    ///
    /// - Returns: the HTTP status.
    /// - Throws: `system` and its kind when there is no answer.
    public static func status(
        host: String, port: UInt16, path: String, isTLS: Bool, seconds: Int = 3
    ) throws(FleetError) -> Int {
        let socket = try connect(host, port, seconds)
        let request = "GET \(path) HTTP/1.0\r\nHost: \(host)\r\nUser-Agent: fleet-agent\r\nConnection: close\r\n\r\n"
        let answer = isTLS ? try askSecurely(socket, request) : try askPlainly(socket, request)
        // "HTTP/1.1 200 OK"
        let words = String(decoding: answer, as: UTF8.self).prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/"), let status = Int(words[1]) else {
            throw FleetError(.malformed, "\(host):\(port) does not answer as an HTTP server", retryable: true)
        }
        return status
    }

    /// Whether somebody listens there.
    public static func isListening(host: String, port: UInt16, seconds: Int = 3) -> Bool {
        (try? connect(host, port, seconds)) != nil
    }

    /// Whether the host itself says that nobody listens there, which a packet lost on the way does not.
    public static func isRefused(host: String, port: UInt16, seconds: Int = 3) -> Bool {
        do throws(FleetError) { _ = try connect(host, port, seconds) } catch { return error.code == .connectionRefused }
        return false
    }

    private static func connect(_ host: String, _ port: UInt16, _ seconds: Int) throws(FleetError) -> Descriptor {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        // A literal IPv6 address stands in brackets in a URL.
        let name = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        guard getaddrinfo(name, String(port), &hints, &list) == 0, let first = list else {
            throw FleetError(.notFound, "\(host) has no address", retryable: true)
        }
        defer { freeaddrinfo(list) }
        let raw = try systemCall("socket") {
            socket(first.pointee.ai_family, first.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
        }
        let descriptor = Descriptor(owning: raw)
        // Linux applies the sending timeout to connect(2) as well (socket(7)).
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        try systemCall("set a timeout") { setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &limit, size) }
        try systemCall("set a timeout") { setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, size) }
        let result = Glibc.connect(raw, first.pointee.ai_addr, first.pointee.ai_addrlen)
        guard result == 0 else {
            let (code, failure) = (errno, FleetError(errno: errno, "connect to \(host):\(port)"))
            throw code == ECONNREFUSED ? FleetError(.connectionRefused, failure.message) : failure
        }
        return descriptor
    }

    private static func askPlainly(_ socket: borrowing Descriptor, _ request: String) throws(FleetError) -> [UInt8] {
        try socket.write(request.utf8)
        var answer = [UInt8](repeating: 0, count: 4096)
        let count = try socket.read(into: &answer)
        return Array(answer[..<count])
    }

    private static func askSecurely(_ socket: borrowing Descriptor, _ request: String) throws(FleetError) -> [UInt8] {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw openSSLError("prepare TLS") }
        defer { SSL_CTX_free(context) }
        guard let session = SSL_new(context) else { throw openSSLError("prepare TLS") }
        defer { SSL_free(session) }
        guard SSL_set_fd(session, socket.raw) == 1, SSL_connect(session) == 1 else {
            throw openSSLError("shake hands for a probe")
        }
        let bytes = Array(request.utf8)
        guard SSL_write(session, bytes, Int32(bytes.count)) > 0 else { throw openSSLError("ask for a probe") }
        var answer = [UInt8](repeating: 0, count: 4096)
        let count = SSL_read(session, &answer, Int32(answer.count))
        guard count > 0 else { throw openSSLError("hear a probe's answer") }
        return Array(answer[..<Int(count)])
    }
}

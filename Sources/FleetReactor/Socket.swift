internal import CLinux
public import FleetSystem
private import Glibc

/// Where a coordinator listens or is found.
public enum Address: Sendable, Equatable, CustomStringConvertible {
    /// A name or an address without brackets, and a port.
    case tcp(host: String, port: UInt16)
    case unix(path: String)

    /// "host:port", "[::1]:port" or "unix:/path"; the port may be left out when there is a default.
    public init(_ text: String, defaultPort: UInt16? = nil) throws(FleetError) {
        if text.hasPrefix("unix:") {
            self = .unix(path: String(text.dropFirst(5)))
            return
        }
        var host = Substring(text)
        var port = defaultPort
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            if rest.hasPrefix(":") { port = UInt16(rest.dropFirst()) } else if !rest.isEmpty { port = nil }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            port = UInt16(text[text.index(after: colon)...])
        }
        guard !host.isEmpty, let port, port > 0 else {
            throw FleetError(
                .malformed, "not an address: \(text.debugDescription)",
                hint: "write HOST:PORT, [IPV6]:PORT or unix:/PATH")
        }
        self = .tcp(host: String(host), port: port)
    }

    public var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// Non-blocking stream sockets. Name resolution blocks and is done by the caller's choice of thread.
public enum Socket {
    /// A bound address in the kernel's form.
    public struct Endpoint: Sendable {
        var storage: [UInt8]
        var family: Int32
    }

    /// Blocks: looks the name up (getaddrinfo).
    public static func resolve(_ address: Address, passive: Bool = false) throws(FleetError) -> [Endpoint] {
        switch address {
        case .unix(let path):
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: name.sun_path) else {
                throw FleetError(
                    .malformed, "the socket's path is empty or too long: \(path)",
                    hint: "a Unix socket's path has at most 107 bytes")
            }
            withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
            return [Endpoint(storage: withUnsafeBytes(of: &name) { Array($0) }, family: AF_UNIX)]
        case .tcp(let host, let port):
            var hints = addrinfo()
            hints.ai_family = AF_UNSPEC
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            hints.ai_flags = passive ? AI_PASSIVE : 0
            var list: UnsafeMutablePointer<addrinfo>?
            let result = getaddrinfo(host == "*" ? nil : host, String(port), &hints, &list)
            guard result == 0 else {
                throw FleetError(
                    .notFound, "look up \(host): \(String(cString: gai_strerror(result)).lowercased())",
                    hint: "check the name and this host's resolver", retryable: true)
            }
            defer { freeaddrinfo(list) }
            var endpoints: [Endpoint] = []
            var next = list
            while let one = next {
                let bytes = UnsafeRawBufferPointer(start: one.pointee.ai_addr, count: Int(one.pointee.ai_addrlen))
                endpoints.append(Endpoint(storage: Array(bytes), family: one.pointee.ai_family))
                next = one.pointee.ai_next
            }
            return endpoints
        }
    }

    /// A listening socket. "*" is every address, IPv6 and IPv4 alike; a Unix socket's file replaces one that a dead
    /// process left.
    public static func listen(_ address: Address, backlog: Int32 = 1024) throws(FleetError) -> Descriptor {
        var endpoints = try resolve(address, passive: true)
        // One socket of the IPv6 wildcard takes IPv4 too; where there is no IPv6 the other one serves.
        if case .tcp("*", _) = address { endpoints.sort { $0.family == AF_INET6 && $1.family != AF_INET6 } }
        if case .unix(let path) = address { try removeStale(path) }
        var last = FleetError(.notFound, "no address for \(address)")
        for endpoint in endpoints {
            do throws(FleetError) {
                let socket = try listen(endpoint, address, backlog)
                if case .unix(let path) = address { try FileSystem.setMode(path, 0o600) }
                return socket
            } catch { last = error }
        }
        throw last
    }

    private static func listen(
        _ endpoint: Endpoint, _ address: Address, _ backlog: Int32
    ) throws(FleetError) -> Descriptor {
        let socket = try make(endpoint.family)
        let raw = socket.raw
        var on: Int32 = 1
        var off: Int32 = 0
        if endpoint.family == AF_INET6 {
            try systemCall("listen") { setsockopt(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, 4) }
        }
        if endpoint.family != AF_UNIX {
            try systemCall("listen") { setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &on, 4) }
        }
        try systemCall("listen on \(address)") {
            endpoint.storage.withUnsafeBytes {
                bind(raw, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t($0.count))
            }
        }
        try systemCall("listen on \(address)") { Glibc.listen(raw, backlog) }
        return socket
    }

    private static func removeStale(_ path: String) throws(FleetError) {
        guard let status = try FileSystem.status(path, following: false) else { return }
        guard status.kind == .other else {
            throw FleetError(
                .alreadyExists, "\(path) exists and is not a socket", hint: "remove it, or name another path")
        }
        try FileSystem.remove(path)
    }

    /// The port that the kernel chose for a listener on port 0.
    public static func localPort(_ socket: borrowing Descriptor) -> UInt16 {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout.size(ofValue: name))
        let raw = socket.raw
        let result = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
        }
        guard result == 0 else { return 0 }
        // The port is at the same place for IPv4 and IPv6, in network order.
        return withUnsafeBytes(of: &name) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    }

    /// Begins to connect; writability tells the end, then `connectError` how it went.
    public static func connect(_ endpoint: Endpoint) throws(FleetError) -> Descriptor {
        let socket = try make(endpoint.family)
        let raw = socket.raw
        let result = endpoint.storage.withUnsafeBytes {
            Glibc.connect(raw, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t($0.count))
        }
        if result != 0, errno != EINPROGRESS, errno != EINTR { throw connectFailure(errno) }
        return socket
    }

    /// nil when the connection stands.
    public static func connectError(_ socket: borrowing Descriptor) -> FleetError? {
        var code: Int32 = 0
        var length = socklen_t(4)
        let raw = socket.raw
        guard getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length) == 0, code != 0 else { return nil }
        return connectFailure(code)
    }

    private static func connectFailure(_ code: Int32) -> FleetError {
        var error = FleetError(errno: code, "connect")
        error.isRetryable = true
        if code == ECONNREFUSED || code == ENOENT {
            error.hint = "is the coordinator running, and is this its address?"
        }
        return error
    }

    /// The next connection of a listener; nil when there is none now.
    public static func accept(_ listener: borrowing Descriptor) throws(FleetError) -> Descriptor? {
        let raw = listener.raw
        while true {
            let socket = fleet_accept(raw)
            if socket >= 0 {
                tune(socket)
                return Descriptor(owning: socket)
            }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return nil
            default: throw FleetError(errno: errno, "accept a connection")
            }
        }
    }

    /// From where a connection comes, without its port: "192.0.2.7", "2001:db8::7"; nil where the kernel does not tell.
    public static func peerAddress(_ socket: borrowing Descriptor) -> String? {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout.size(ofValue: name))
        let raw = socket.raw
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let size = socklen_t(text.count)
        let result = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getpeername(raw, address, &length) == 0
                    ? getnameinfo(address, length, &text, size, nil, 0, NI_NUMERICHOST) : -1
            }
        }
        guard result == 0 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Who is at the other end of a Unix socket.
    public static func peerUser(_ socket: borrowing Descriptor) throws(FleetError) -> UInt32 {
        var (pid, uid, gid): (pid_t, uid_t, gid_t) = (0, 0, 0)
        let raw = socket.raw
        try systemCall("ask for the peer's credentials") { fleet_peer_credentials(raw, &pid, &uid, &gid) }
        return uid
    }

    private static func make(_ family: Int32) throws(FleetError) -> Descriptor {
        let raw = try systemCall("make a socket") {
            socket(family, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        tune(raw)
        return Descriptor(owning: raw)
    }

    // Frames are written whole, so waiting for more (Nagle) only delays them. It fails on Unix sockets, harmlessly.
    private static func tune(_ raw: Int32) {
        var on: Int32 = 1
        _ = setsockopt(raw, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    }
}

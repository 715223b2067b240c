internal import CMicrohttpd
public import FleetSystem
private import Glibc

/// Answers GET and HEAD of a few paths for programs that read metrics and probe, over libmicrohttpd, on one thread of its
/// own. Small on purpose: no bodies are read, few connections are held, and one that is silent ends soon.
public final class HTTPServer: @unchecked Sendable {
    // Unchecked: the daemon belongs to libmicrohttpd, whose calls may come from any thread; it is set once.
    private let daemon: OpaquePointer
    private let answer: UnsafeMutableRawPointer

    public struct Reply: Sendable, Equatable {
        public var status: Int
        public var type: String
        public var body: [UInt8]

        public init(_ text: String, status: Int = 200, type: String = "text/plain; charset=utf-8") {
            self.status = status
            self.type = type
            body = Array(text.utf8)
        }
    }

    /// Boxed, since C passes it on.
    private final class Answer {
        let body: @Sendable (String) -> Reply?
        init(_ body: @escaping @Sendable (String) -> Reply?) { self.body = body }
    }

    /// - Parameters:
    ///   - socket: listens; it is the server's from now on.
    ///   - answer: of a path; nil for 404. It runs on the server's thread and must not take long.
    /// - Throws: `system` where the library can't start.
    public init(
        listeningOn socket: consuming Descriptor, answer: @escaping @Sendable (_ path: String) -> Reply?
    ) throws(FleetError) {
        let box = Unmanaged.passRetained(Answer(answer)).toOpaque()
        let descriptor = socket.release()
        let arguments: [any CVarArg] = [
            fleet_mhd_option_listen_socket, descriptor,
            fleet_mhd_option_connection_limit, Int32(32),
            fleet_mhd_option_connection_timeout, Int32(15),
            fleet_mhd_option_end,
        ]
        let started = withVaList(arguments) { list in
            MHD_start_daemon_va(
                fleet_mhd_flags, 0, nil, nil,
                { box, connection, url, method, _, _, size, state in
                    HTTPServer.handle(box, connection, url, method, size, state)
                }, box, list)
        }
        guard let started else {
            close(descriptor)
            Unmanaged<Answer>.fromOpaque(box).release()
            throw FleetError(.system, "the HTTP server could not start", hint: "see whether its port is free")
        }
        daemon = started
        self.answer = box
    }

    private let isStopped = Monitor(false)

    /// Waits for what is being answered.
    public func stop() {
        let isFirst = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        if isFirst { MHD_stop_daemon(daemon) }
    }

    deinit {
        stop()
        Unmanaged<Answer>.fromOpaque(answer).release()
    }

    private static func handle(
        _ box: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ url: UnsafePointer<CChar>?,
        _ method: UnsafePointer<CChar>?, _ size: UnsafeMutablePointer<Int>?,
        _ state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> MHD_Result {
        guard let box, let url, let method, let state else { return fleet_mhd_no }
        // "The first call to this function is made when the headers are there; only in a later one may be answered": any
        // pointer but nil marks the second.
        guard state.pointee != nil else {
            state.pointee = box
            return fleet_mhd_yes
        }
        // What comes with a request is thrown away.
        if let size, size.pointee > 0 {
            size.pointee = 0
            return fleet_mhd_yes
        }
        let reads = ["GET", "HEAD"].contains(String(cString: method))
        let answer = Unmanaged<Answer>.fromOpaque(box).takeUnretainedValue()
        let reply =
            reads
            ? answer.body(String(cString: url)) ?? Reply("not found\n", status: 404)
            : Reply("only GET and HEAD\n", status: 405)
        let response = reply.body.withUnsafeBytes { bytes in
            MHD_create_response_from_buffer(
                bytes.count, UnsafeMutableRawPointer(mutating: bytes.baseAddress), fleet_mhd_must_copy)
        }
        guard let response else { return fleet_mhd_no }
        defer { MHD_destroy_response(response) }
        _ = MHD_add_response_header(response, "Content-Type", reply.type)
        return MHD_queue_response(connection, UInt32(reply.status), response)
    }
}

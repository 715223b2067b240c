private import CLinux
private import Glibc

/// What a daemon owes the service manager that started it.
public enum Service {
    /// Tells systemd something (sd_notify(3)): "READY=1", "STOPPING=1", "STATUS=...". Without systemd it does nothing.
    public static func notify(_ message: String) {
        guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }), path.utf8.count < 108, !path.isEmpty
        else { return }
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        // An abstract socket's name begins with a zero byte, written '@'.
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let socket = fleet_datagram_socket()
        guard socket >= 0 else { return }
        let descriptor = Descriptor(owning: socket)
        _ = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Array(message.utf8).withUnsafeBytes {
                    sendto(descriptor.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL), address, length)
                }
            }
        }
    }

    /// Waits for SIGTERM or SIGINT. From its first call on these signals end nothing by themselves.
    public static func termination() async {
        let end = terminationPipe
        _ = try? await Blocking.run {
            var byte: UInt8 = 0
            while read(end, &byte, 1) < 0, errno == EINTR {}
        }
    }

    // A handler may do next to nothing (signal-safety(7)); writing a byte into a pipe is allowed.
    nonisolated(unsafe) private static var terminationWriter: Int32 = -1

    private static let terminationPipe: Int32 = {
        var ends: [Int32] = [0, 0]
        precondition(fleet_pipe(&ends) == 0, "pipe: error \(errno)")
        terminationWriter = ends[1]
        for number in [SIGTERM, SIGINT] {
            signal(number) { _ in
                var byte: UInt8 = 1
                let saved = errno
                _ = write(Service.terminationWriter, &byte, 1)
                errno = saved
            }
        }
        return ends[0]
    }()
}

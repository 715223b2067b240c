private import Glibc

/// What this host is called by others.
public enum HostAddresses {
    /// Its addresses, as numbers ("10.0.0.5", "fd00::1"), loopback included, and its name. Empty where nothing can be known.
    public static func all() -> Set<String> {
        var found: Set<String> = []
        var name = [CChar](repeating: 0, count: 257)
        if gethostname(&name, name.count - 1) == 0 { found.insert(text(name)) }
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return found }
        defer { freeifaddrs(list) }
        var next = list
        while let one = next?.pointee {
            next = one.ifa_next
            guard let address = one.ifa_addr else { continue }
            let size: Int
            switch Int32(address.pointee.sa_family) {
            case AF_INET: size = MemoryLayout<sockaddr_in>.size
            case AF_INET6: size = MemoryLayout<sockaddr_in6>.size
            default: continue
            }
            var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let length = socklen_t(host.count)
            guard getnameinfo(address, socklen_t(size), &host, length, nil, 0, NI_NUMERICHOST) == 0 else { continue }
            // "fe80::1%eth0"
            found.insert(String(text(host).prefix { $0 != "%" }))
        }
        return found
    }

    private static func text(_ bytes: [CChar]) -> String {
        String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

internal import FleetSystem

/// Which of etcd's client URLs the agent uses: one of this host's loopback where etcd listens there, since it does not
/// leave the node and kubeadm's and kubespray's certificates name it; else what etcd advertises.
enum Endpoint {
    /// - Throws: `unreadable-configuration` where etcd listens on no URL of TCP.
    static func choose(_ settings: EtcdSettings) throws(FleetError) -> (String, Setting.Origin) {
        let listen = settings["listen-client-urls"]!
        let urls = settings.list("listen-client-urls").filter { $0.hasPrefix("http://") || $0.hasPrefix("https://") }
        if let url = urls.first(where: { isLoopback(host(of: $0)) }) { return (url, listen.origin) }
        for url in urls {
            for wildcard in ["0.0.0.0", "[::]"] where host(of: url) == wildcard {
                return (url.replacing(wildcard, with: "127.0.0.1", maxReplacements: 1), listen.origin)
            }
        }
        let advertised = settings["advertise-client-urls"]!
        if advertised.origin.kind != .builtIn, let url = settings.list("advertise-client-urls").first {
            return (url, advertised.origin)
        }
        guard let url = urls.first else {
            throw FleetError(
                .unreadableConfiguration, "\(listen.origin): etcd listens on no http or https URL",
                hint: "let etcd listen on https://127.0.0.1:2379 too")
        }
        return (url, listen.origin)
    }

    /// "https://[::1]:2379" -> "[::1]"
    static func host(of url: String) -> String {
        let rest = url.drop { $0 != "/" }.drop { $0 == "/" }
        if rest.hasPrefix("[") { return rest.firstIndex(of: "]").map { String(rest[...$0]) } ?? String(rest) }
        return String(rest.prefix { $0 != ":" && $0 != "/" })
    }

    /// - Parameter own: addresses and names of the host.
    static func isHere(_ host: String, _ own: Set<String>) -> Bool {
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        return host.isEmpty || isLoopback(host) || own.contains(bare)
            || own.contains { bare.hasPrefix($0 + ".") }
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "[::1]" || host.hasPrefix("127.")
    }
}

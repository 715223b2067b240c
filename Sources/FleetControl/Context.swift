internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetReactor
internal import FleetSystem
internal import FleetTLS
private import Glibc

/// How to reach one coordinator: its address, and the files that prove who asks.
struct Context: Codable, Sendable, Equatable {
    var name: String
    /// "host:port" or "unix:/path".
    var server: String
    /// Paths; nil for a Unix socket.
    var certificate: String?
    var key: String?
    var authority: String?

    /// Whose certificate it is; nil where that can't be read.
    var person: String? {
        guard let path = certificate, let text = try? FileSystem.readText(path) else { return nil }
        return (try? X509Certificate(pem: text))?.commonName
    }

    /// What proves who asks; nil for a Unix socket.
    func identity() throws(FleetError) -> TLSContext.Identity? {
        guard let certificate, let key else { return nil }
        return TLSContext.Identity(
            certificate: try X509Certificate(pem: try FileSystem.readText(certificate)),
            key: try PrivateKey(pem: try FileSystem.readText(key)))
    }
}

/// The contexts of one user, as kubectl has them: `~/.config/fleetctl/config.json`, or where FLEETCTL_CONFIG says.
struct ContextFile: Codable, Sendable, Equatable {
    var current: String?
    var contexts: [Context] = []

    static func path() throws(FleetError) -> String {
        if let path = environment("FLEETCTL_CONFIG") { return path }
        if let base = environment("XDG_CONFIG_HOME") { return base + "/fleetctl/config.json" }
        guard let home = environment("HOME") else {
            throw FleetError(.notFound, "HOME is not set", hint: "set HOME, or name the file with FLEETCTL_CONFIG")
        }
        return home + "/.config/fleetctl/config.json"
    }

    /// Without a file there are no contexts.
    static func load(_ path: String) throws(FleetError) -> ContextFile {
        guard FileSystem.exists(path) else { return ContextFile() }
        do throws(FleetError) { return try JSON.decode(ContextFile.self, from: try FileSystem.read(path)) } catch {
            var error = error.during(path)
            error.hint = "correct the file, or move it away and log in again"
            throw error
        }
    }

    func save(_ path: String) throws(FleetError) {
        try FileSystem.makeDirectories(FileSystem.parent(of: path))
        try FileSystem.writeDurably(path, try JSON.encode(self, pretty: true) + [10])
    }

    func context(_ name: String) throws(FleetError) -> Context {
        guard let context = contexts.first(where: { $0.name == name }) else {
            let known = contexts.map(\.name).joined(separator: ", ")
            throw FleetError(
                .notFound, "no context is called \(name.debugDescription)",
                hint: known.isEmpty ? "log in first: 'fleetctl login -'" : "there are: \(known)")
        }
        return context
    }

    /// What to call the context of somebody who logs in and gives it no name: by the coordinator's address, unless that is the
    /// context of another person, whose key is kept.
    func name(for address: String, _ person: String) -> String {
        let other = contexts.first { $0.name == address }?.person
        return other == nil || other == person ? address : "\(address)-\(person)"
    }

    mutating func put(_ context: Context) {
        contexts.removeAll { $0.name == context.name }
        contexts.append(context)
    }
}

func environment(_ name: String) -> String? {
    guard let value = getenv(name).map({ String(cString: $0) }), !value.isEmpty else { return nil }
    return value
}

/// Which coordinator a command line means. In this order: `--server` with its files, `--context`, FLEETCTL_CONTEXT,
/// the file's current context, and on the coordinator's own host its socket.
enum Coordinator {
    private static let data = "/var/lib/fleet-coordinator"
    static let socket = "/run/fleet-coordinator/control.sock"

    static let options: [Command.Option] = [
        .init("context", value: "NAME", "the coordinator to use, by its name in the configuration file"),
        .init("server", value: "ADDRESS", "the coordinator's address, HOST:PORT or unix:/PATH"),
        .init("certificate", value: "FILE", "with --server: the operator's certificate"),
        .init("key", value: "FILE", "with --server: its private key"),
        .init("authority", value: "FILE", "with --server: the fleet's authority"),
    ]

    static func chosen(_ call: Invocation) throws(FleetError) -> Context {
        if let server = call.value("server") {
            return Context(
                name: "--server", server: server, certificate: call.value("certificate"), key: call.value("key"),
                authority: call.value("authority"))
        }
        let file = try ContextFile.load(try ContextFile.path())
        if let name = call.value("context") ?? environment("FLEETCTL_CONTEXT") ?? file.current {
            return try file.context(name)
        }
        guard FileSystem.exists(socket) else {
            if geteuid() == 0, FileSystem.exists(data), !FileSystem.exists(data + "/settings.json") {
                throw FleetError(
                    .notFound, "the coordinator of this host is not set up yet",
                    hint:
                        "runuser -u fleet-coordinator -- fleet-coordinator init --advertise HOST:7400; it says what is next"
                )
            }
            if FileSystem.exists(data) {
                throw FleetError(
                    .notFound, "the coordinator of this host is not running",
                    hint: "systemctl start fleet-coordinator; if it does not stay up: journalctl -u fleet-coordinator")
            }
            throw FleetError(
                .usage, "no coordinator was named, and none has its socket on this host",
                hint:
                    "log in with 'fleetctl login -' (a token comes from 'fleetctl operator add NAME --role ROLE'), or run this on the "
                    + "coordinator's host as root")
        }
        return Context(name: "socket", server: "unix:\(socket)")
    }

    static func control(_ call: Invocation) async throws(FleetError) -> Control {
        // Chosen once: while a coordinator restarts, its socket is away, and it is still the one that is meant.
        let context = try chosen(call)
        return try await Control { () async throws(FleetError) in try await connect(context) }
    }

    private static func connect(_ context: Context) async throws(FleetError) -> Connection {
        let address = try Address(context.server)
        var tls: TLSContext?
        if case .tcp = address {
            guard let identity = try context.identity(), let authority = context.authority else {
                throw FleetError(
                    .usage, "the address \(context.server) needs a certificate, a key and the authority",
                    hint: "give --certificate, --key and --authority, or log in with 'fleetctl login -'")
            }
            tls = try TLSContext.client(
                identity: identity, authority: try X509Certificate(pem: try FileSystem.readText(authority)))
        }
        return try await Dialler.connect(
            address, tls: tls, options: Connection.Options(software: "fleetctl \(FleetVersion.current)"))
    }
}

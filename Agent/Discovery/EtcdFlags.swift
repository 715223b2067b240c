internal import FleetSystem

/// etcd's command line as Go's `flag` package reads it: `-x v`, `--x v`, `-x=v`, `--x=v`; a boolean takes a value only
/// after `=`; what is no flag ends it.
enum EtcdFlags {
    /// The booleans of etcd 3.4 to 3.6 (`etcd --help`): they take no second word.
    private static let booleans: Set<String> = [
        "auto-tls", "client-cert-auth", "debug", "enable-grpc-gateway", "enable-log-rotation", "enable-pprof",
        "enable-v2", "experimental-compact-hash-check-enabled", "experimental-distributed-tracing",
        "experimental-enable-distributed-tracing", "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist", "experimental-initial-corrupt-check",
        "experimental-memory-mlock", "experimental-peer-skip-client-san-verification",
        "experimental-stop-grpc-service-on-defrag", "experimental-txn-mode-write-with-shared-buffer",
        "compact-hash-check-enabled", "enable-distributed-tracing", "force-new-cluster", "h", "help",
        "initial-corrupt-check", "memory-mlock", "peer-auto-tls", "peer-client-cert-auth",
        "peer-skip-client-san-verification", "pre-vote", "socket-reuse-address", "socket-reuse-port",
        "strict-reconfig-check", "unsafe-no-fsync", "version",
    ]

    /// The flags' values in order; a name may come more than once.
    static func parse(_ arguments: [TracedText]) throws(FleetError) -> [(name: String, value: TracedText)] {
        var result: [(String, TracedText)] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let dashes = argument.hasPrefix("--") ? 2 : argument.hasPrefix("-") ? 1 : 0
            guard dashes > 0, argument.bytes.count > dashes else { break }
            let body = argument[dashes..<argument.bytes.count]
            if let equals = body.firstIndex(of: UInt8(ascii: "=")) {
                result.append((body[0..<equals].text, body[equals + 1..<body.bytes.count]))
            } else if booleans.contains(body.text) {
                result.append(
                    (body.text, TracedText("true", at: body.place.map { .init(file: $0.file, line: $0.line) })))
            } else if let value = rest.popFirst() {
                result.append((body.text, value))
            } else {
                let place = body.place.map { "\($0.file):\($0.line): " } ?? ""
                throw FleetError(
                    .unreadableConfiguration, "\(place)the flag \(argument.text) has no value",
                    hint: "etcd itself does not start with this command; give the flag a value")
            }
        }
        return result
    }
}

internal import FleetProtocol
internal import FleetReactor
internal import FleetSystem
internal import FleetTLS

/// Whether an etcd is off, so that nothing can be gained by waiting for it. etcdctl asks a port that refuses it again and again for
/// all the time it has: right for an etcd that is coming up, which refuses for seconds, and a waste for one that is stopped.
/// Where anything speaks for its coming, or can't be seen, it is not off.
struct EtcdAbsence: Sendable {
    var processes: @Sendable () throws(FleetError) -> [EtcdProcess] = ProcessTable.etcds
    /// As systemd has it, see `Systemctl.isActive`: also what is being started, or will be again behind a crash.
    var isActive: @Sendable (_ unit: String) throws(FleetError) -> Bool = Systemctl.isActive
    var kubeletRuns: @Sendable () throws(FleetError) -> Bool = Self.findKubelet
    var isInPlace: @Sendable (_ manifest: String) -> Bool = FileSystem.exists
    /// Nobody listens there.
    var refuses: @Sendable (_ endpoint: String) -> Bool = Self.findRefusal

    func isCertain(of instance: EtcdInstance) -> Bool {
        do throws(FleetError) {
            guard try !runs(instance), try !mayStart(instance) else { return false }
            return refuses(instance.endpoint)
        } catch { return false }
    }

    /// Whether it has a process. A static pod's is in a container, where nothing but the name tells whose it is.
    func runs(_ instance: EtcdInstance) throws(FleetError) -> Bool {
        let all = try processes()
        guard let unit = instance.unit else { return !all.isEmpty }
        return all.contains { $0.belongs(to: unit) }
    }

    /// Asked behind the processes: what is started between the two is seen here.
    private func mayStart(_ instance: EtcdInstance) throws(FleetError) -> Bool {
        if let unit = instance.unit { return try isActive(unit) }
        guard let manifest = instance.manifest else { return true }
        guard isInPlace(manifest) else { return false }
        return try kubeletRuns()
    }

    /// Whatever starts it, and whether it is only about to be there.
    private static func findKubelet() throws(FleetError) -> Bool {
        if try ProcessTable.all().contains(where: { FileSystem.name(of: $0.arguments[0]) == "kubelet" }) { return true }
        return try Systemctl.isActive("kubelet.service")
    }

    private static func findRefusal(_ endpoint: String) -> Bool {
        guard endpoint.hasPrefix("http"), let authority = endpoint.split(separator: "/").dropFirst().first,
            case .tcp(let host, let port) = try? Address(String(authority))
        else { return false }
        return HTTPProbe.isRefused(host: host, port: port, seconds: 1)
    }

    private static func advice(_ manifest: String?) -> String {
        guard let manifest else { return "see why the kubelet does not run its manifest" }
        return FileSystem.exists(manifest)
            ? "see why the kubelet does not run \(manifest)" : "its manifest is not in place: \(manifest)"
    }

    /// What is told then.
    static func error(_ instance: EtcdInstance) -> FleetError {
        FleetError(
            .unhealthy, "etcd does not run on this node",
            hint: instance.unit.map { "start it: systemctl start \($0); its log: journalctl -u \($0)" }
                ?? Self.advice(instance.manifest), retryable: true)
    }
}

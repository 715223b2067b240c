public import FleetSystem

/// Which certificates of a node somebody has to look after: one rule for the status, the metrics and the report.
extension CertificateExpiry {
    /// What the kubelet serves with where the cluster signs it; a link to the newest.
    public static let kubeletServing = "/var/lib/kubelet/pki/kubelet-server-current.pem"
    /// What it knows itself to the cluster by; a link to the newest.
    public static let kubeletClient = "/var/lib/kubelet/pki/kubelet-client-current.pem"
    /// What it has signed for itself otherwise. It makes a new one only where there is none, and leaves it behind.
    public static let kubeletSelfSigned = "/var/lib/kubelet/pki/kubelet.crt"

    private static let soon = Duration.seconds(30 * 86_400)

    /// Which part of its life is left at least when what renews it by itself has done so; nil where people do. The kubelet
    /// does between seven and nine tenths (kubernetes, certificate manager), and whoever issues one for less than four days has
    /// a program for it.
    private var renewed: Int? {
        guard let life else { return nil }
        if [Self.kubeletServing, Self.kubeletClient].contains(path) { return life < .seconds(300 * 86_400) ? 10 : nil }
        return life < .seconds(4 * 86_400) ? 4 : nil
    }
    private var life: Duration? { notBefore.map { notAfter.since($0) } }

    /// It ends within 30 days; of what is renewed by itself, when that should have been.
    public func isEnding(at now: Timestamp) -> Bool {
        let left = notAfter.since(now)
        guard let renewed, let life else { return left < Self.soon }
        return left < min(Self.soon, life / renewed)
    }

    /// Those whose end is worth knowing, soonest first: not those that are renewed in time, as far as anybody can tell.
    public static func watched(_ all: [CertificateExpiry], at now: Timestamp) -> [CertificateExpiry] {
        all.filter { $0.renewed == nil || $0.isEnding(at: now) }
            .sorted { ($0.notAfter, $0.path) < ($1.notAfter, $1.path) }
    }

    /// Likewise, of each file the one that ends first: some hold more than one.
    public static func firstEnds(_ all: [CertificateExpiry], at now: Timestamp) -> [CertificateExpiry] {
        var seen: Set<String> = []
        return watched(all, at: now).filter { seen.insert($0.path).inserted }
    }
}

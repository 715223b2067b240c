public import FleetSystem

/// Which certificates of a node somebody has to look after: one rule for the status, the metrics and the report.
extension CertificateExpiry {
    /// What the kubelet serves with where the cluster signs it; a link to the newest.
    public static let kubeletServing = "/var/lib/kubelet/pki/kubelet-server-current.pem"
    /// What it has signed for itself otherwise. It makes a new one only where there is none, and leaves it behind.
    public static let kubeletSelfSigned = "/var/lib/kubelet/pki/kubelet.crt"

    private static let soon = Duration.seconds(30 * 86_400)

    /// Whoever issues it for so short a time renews it by a program.
    private var isShortLived: Bool { notBefore.map { notAfter.since($0) < .seconds(60 * 86_400) } ?? false }

    /// It ends within 30 days, or is in the last quarter of a life of less than 60.
    public func isEnding(at now: Timestamp) -> Bool {
        let left = notAfter.since(now)
        guard isShortLived, let notBefore else { return left < Self.soon }
        return left < min(Self.soon, notAfter.since(notBefore) / 4)
    }

    /// Those whose end is worth knowing, soonest first: not those that are renewed in time, as far as anybody can tell.
    public static func watched(_ all: [CertificateExpiry], at now: Timestamp) -> [CertificateExpiry] {
        all.filter { !$0.isShortLived || $0.isEnding(at: now) }
            .sorted { ($0.notAfter, $0.path) < ($1.notAfter, $1.path) }
    }
}

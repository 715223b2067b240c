internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Certificates of nodes that end soon: a line a node. Pure.
extension Concern {
    private static let urgent = Duration.seconds(7 * 86_400)

    /// Louder where the first ends within seven days, or has ended; that is another matter than that it will.
    static func ofCertificates(_ agent: AgentRecord, now: Timestamp) -> Concern? {
        let ending = (agent.nodeCertificates ?? []).filter { $0.isEnding(at: now) }.sorted { $0.notAfter < $1.notAfter }
        guard let first = ending.first else { return nil }
        let left = first.notAfter.since(now)
        let when =
            left <= .zero
            ? "ended \(first.notAfter.short)" : "ends \(first.notAfter.short), in \(Human.duration(left))"
        let loud = left <= .zero ? "ENDED: " : left <= urgent ? "URGENT: " : ""
        let place = "\(agent.node) (\(agent.cluster))"
        let what =
            ending.count == 1
            ? "a certificate on \(place)" : "\(ending.count) certificates on \(place) are near their end; the first"
        return Concern(
            .nodeCertificate, cluster: agent.cluster, node: agent.node,
            subject: loud.isEmpty ? nil : String(loud.dropLast(2)),
            "\(loud)\(what), \(first.path), \(when)", action: advice(ending))
    }

    private static func advice(_ ending: [CertificateExpiry]) -> String {
        var all: [String] = []
        func add(_ text: String) { if !all.contains(text) { all.append(text) } }
        for one in ending {
            if one.isAuthority == true {
                add(
                    "an authority is not renewed by kubeadm: see 'Manual Rotation of CA Certificates' in Kubernetes' documentation"
                )
            } else if one.path == CertificateExpiry.kubeletSelfSigned {
                add(
                    "there: remove /var/lib/kubelet/pki/kubelet.crt and kubelet.key, then 'systemctl restart kubelet' makes new ones"
                )
            } else if one.path.hasPrefix("/etc/kubernetes/kubelet.conf") || one.path.hasPrefix("/var/lib/kubelet/") {
                add("the kubelet renews its own, and has not: 'journalctl -u kubelet' there says why")
            } else if one.path.hasPrefix("/etc/kubernetes/") {
                add(
                    "there: 'kubeadm certs renew all', then move each manifest out of its directory for 20 s, so that its pod "
                        + "starts anew with them")
            } else {
                add("renew it as it was issued, then restart etcd, one member after another")
            }
        }
        return all.joined(separator: "; ")
    }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// Certificates of nodes that end soon: a line for those of a node that end on one day. Whatever ended long ago and lies there
/// still hides none that others rely on. Pure.
extension Concern {
    private static let urgent = Duration.seconds(7 * 86_400)
    /// So many are named.
    static let handful = 5

    /// The soonest first. Louder where the first of its day ends within seven days, and where it has ended.
    static func ofCertificates(_ agent: AgentRecord, now: Timestamp) -> [Concern] {
        let ending = (agent.nodeCertificates ?? []).filter { $0.isEnding(at: now) }
        // kubeadm makes all of its own within seconds, for a year.
        let days = Dictionary(grouping: ending, by: \.notAfter.day)
        return days.sorted { $0.key < $1.key }.map { day, ending in
            ofCertificates(agent, on: day, ending.sorted { ($0.notAfter, $0.path) < ($1.notAfter, $1.path) }, now: now)
        }
    }

    /// - Parameter ending: those of that day, at least one.
    private static func ofCertificates(
        _ agent: AgentRecord, on day: String, _ ending: [CertificateExpiry], now: Timestamp
    ) -> Concern {
        let first = ending[0].notAfter
        let left = first.since(now)
        let level = left <= .zero ? 2 : left <= urgent ? 1 : 0
        let place = "\(agent.node) (\(agent.cluster))"
        var paths: [String] = []
        for one in ending where !paths.contains(one.path) { paths.append(one.path) }
        let text: String
        if paths.count == 1 {
            let when = left <= .zero ? "ended \(first.short)" : "ends \(first.short), in \(Human.duration(left))"
            text = "a certificate on \(place), \(paths[0]), \(when)"
        } else {
            let haveAllEnded = ending.allSatisfy { $0.notAfter <= now }
            let when =
                haveAllEnded
                ? "ended \(day)"
                : "end \(day), the first \(left <= .zero ? "has ended" : "in \(Human.duration(left))")"
            let rest = paths.count > handful ? " and \(paths.count - handful) more" : ""
            text =
                "\(paths.count) certificates on \(place) \(when): "
                + paths.prefix(handful).joined(separator: ", ") + rest
        }
        var action = advice(ending)
        if ending.contains(where: { $0.notAfter <= now && $0.path.hasPrefix("/etc/kubernetes/") }) {
            action += "; what has ended and nothing uses any more: move it out of /etc/kubernetes"
        }
        if paths.count > handful { action += "; 'fleetctl cluster show \(agent.cluster)' names all" }
        return Concern(
            .nodeCertificate, cluster: agent.cluster, node: agent.node, subject: day, level: level,
            ["", "URGENT: ", "ENDED: "][level] + text, action: action)
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

import FleetProtocol
import FleetSystem

/// Which certificates stand and when they end, as the audit log tells. Pure.
struct CertificateHistory {
    private struct Holder: Hashable {
        var cluster: String?
        var name: String
    }
    private struct Issued {
        var at: Timestamp
        var ends: Timestamp
    }
    /// By fingerprint.
    private var issued: [Holder: [String: Issued]] = [:]
    /// What the end of an authority tells since reports end certificates with it: those that were made of others before are made
    /// again as they were.
    static let peopleLeft = "operators"
    /// When the authority in force came: what was issued before is another one's.
    private var rotated: Timestamp?
    /// Of the node, as its last backup or its agent told.
    private var found: [Holder: [CertificateExpiry]] = [:]

    mutating func feed(_ event: AuditEvent) {
        guard event.outcome == .ok else { return }
        if event.action == "certificate.revoke", let name = event.subject {
            issued[Holder(cluster: event.cluster, name: name)] = nil
        } else if let fingerprint = event.detail["fingerprint"], let name = event.subject {
            let holder = Holder(cluster: event.cluster, name: name)
            // Told since there are reports; all certificates before that were good for as long.
            let ends =
                event.detail["notAfter"].flatMap { Timestamp($0) } ?? event.time.adding(KeyRing.clientValidity)
            // A node has one that stands, a person one on each machine.
            if event.cluster != nil { issued[holder] = [:] }
            issued[holder, default: [:]][fingerprint] = Issued(at: event.time, ends: ends)
        } else if event.action == "authority.rotate" {
            rotated = event.time
        } else if event.action == "authority.retire", event.detail[Self.peopleLeft] != nil, let rotated {
            for (holder, certificates) in issued {
                issued[holder] = certificates.mapValues { one in
                    one.at < rotated ? Issued(at: one.at, ends: min(one.ends, event.time)) : one
                }
            }
        } else if let cluster = event.cluster, let node = Self.node(toldOfBy: event) {
            let text = event.detail[EndingCertificates.field]
            found[Holder(cluster: cluster, name: node)] = text.flatMap {
                try? JSON.decode([CertificateExpiry].self, from: Array($0.utf8))
            }
        }
    }

    /// Of a cluster that was removed.
    mutating func forget(_ cluster: String) {
        issued = issued.filter { $0.key.cluster != cluster }
        found = found.filter { $0.key.cluster != cluster }
    }

    private static func node(toldOfBy event: AuditEvent) -> String? {
        switch event.action {
        case "snapshot.store": event.detail["node"]
        case EndingCertificates.action: event.subject
        default: nil
        }
    }

    /// - Parameters:
    ///   - since: of the report's range.
    ///   - until: likewise; what ends later has not ended.
    func ending(before limit: Timestamp, since: Timestamp, until: Timestamp) -> ReportList<AuditReport.Certificate> {
        var all: [AuditReport.Certificate] = []
        for (holder, certificates) in issued {
            let ends = certificates.values.map(\.ends)
            let last = ends.max() ?? since
            for ends in ends where ends < limit {
                // A person that logged in again, or left, has none that anybody has to look after.
                if holder.cluster == nil, ends <= until, ends < last || ends < since { continue }
                all.append(
                    .init(
                        kind: holder.cluster == nil ? "operator" : "agent", cluster: holder.cluster,
                        holder: holder.name, path: nil, ends: ends))
            }
        }
        for (holder, certificates) in found {
            for one in certificates where one.notAfter < limit {
                all.append(
                    .init(
                        kind: "node", cluster: holder.cluster, holder: holder.name, path: one.path, ends: one.notAfter))
            }
        }
        all.sort {
            ($0.ends, $0.cluster ?? "", $0.holder, $0.path ?? "") < (
                $1.ends, $1.cluster ?? "", $1.holder, $1.path ?? ""
            )
        }
        let rows = Array(all.prefix(ReportLimits.rows))
        return ReportList(rows, leftOut: all.count - rows.count)
    }
}

/// Certificates of a node that end soon, in the event of a snapshot that was saved there, and in one of its own where they
/// have become others.
enum EndingCertificates {
    static let field = "certificatesEnding"
    static let action = "node.certificates"

    /// nil where none ends soon: an event is kept for ever.
    static func text(_ certificates: [CertificateExpiry], at time: Timestamp) -> String? {
        let limit = time.adding(.seconds((AuditReport.certificateDays + 1) * 86_400))
        // One file is told of by etcd's check and by the node's inventory: once.
        var ends: [String: Timestamp] = [:]
        for one in CertificateExpiry.watched(certificates, at: time)
        where one.notAfter < limit && one.path.utf8.count <= 200 {
            ends[one.path] = min(one.notAfter, ends[one.path] ?? one.notAfter)
        }
        let ending = ends.map { CertificateExpiry(path: $0.key, notAfter: $0.value) }
            .sorted { ($0.notAfter, $0.path) < ($1.notAfter, $1.path) }
        return ending.isEmpty ? nil : try? JSON.text(Array(ending.prefix(20)))
    }
}

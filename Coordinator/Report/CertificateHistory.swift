import FleetProtocol
import FleetSystem

/// Which certificates stand and when they end, as the audit log tells. Pure.
struct CertificateHistory {
    private struct Holder: Hashable {
        var cluster: String?
        var name: String
    }
    /// By fingerprint.
    private var issued: [Holder: [String: Timestamp]] = [:]
    /// Of etcd and its clients, by node, as its last backup told.
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
            issued[holder, default: [:]][fingerprint] = ends
        } else if event.action == "snapshot.store", let cluster = event.cluster, let node = event.detail["node"] {
            let text = event.detail[EndingCertificates.field]
            found[Holder(cluster: cluster, name: node)] = text.flatMap {
                try? JSON.decode([CertificateExpiry].self, from: Array($0.utf8))
            }
        }
    }

    /// - Parameters:
    ///   - since: of the report's range.
    ///   - until: likewise; what ends later has not ended.
    func ending(before limit: Timestamp, since: Timestamp, until: Timestamp) -> ReportList<AuditReport.Certificate> {
        var all: [AuditReport.Certificate] = []
        for (holder, certificates) in issued {
            let last = certificates.values.max() ?? since
            for ends in certificates.values where ends < limit {
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

/// Certificates of a node that end soon, in the event of a snapshot that was saved there.
enum EndingCertificates {
    static let field = "certificatesEnding"

    /// nil where none ends soon: an event is kept for ever.
    static func text(_ facts: SnapshotFacts) -> String? {
        let limit = facts.savedAt.adding(.seconds((AuditReport.certificateDays + 1) * 86_400))
        let ending = facts.certificates.filter { $0.notAfter < limit && $0.path.utf8.count <= 200 }
            .sorted { ($0.notAfter, $0.path) < ($1.notAfter, $1.path) }
        return ending.isEmpty ? nil : try? JSON.text(Array(ending.prefix(6)))
    }
}

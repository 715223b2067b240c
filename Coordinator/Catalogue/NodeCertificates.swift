import FleetProtocol
import FleetSQLite
import FleetSystem

/// What agents tell of their nodes' certificates.
enum NodeCertificates {
    /// As many and as long as a node can have reason to tell of.
    static func bounded(_ told: [CertificateExpiry]) -> [CertificateExpiry] {
        told.prefix(300).map { one in
            var one = one
            one.path = String(one.path.prefix(300))
            one.subject = one.subject.map { String($0.prefix(200)) }
            return one
        }
    }
}

extension Catalogue {
    /// Puts on record which of them end soon, where that is news; the audit report is made from that.
    func tellEnding(_ certificates: [CertificateExpiry], cluster: String, node: String) {
        do throws(FleetError) {
            let text = EndingCertificates.text(certificates, at: now)
            let told: String?? = try db.first(
                "SELECT certificates_told AS told FROM nodes WHERE cluster = ? AND name = ?", cluster, node
            ) { row throws(FleetError) in try row["told"] }
            guard let told, told != text else { return }
            var event = Act(EndingCertificates.action, by: "agent:\(cluster)/\(node)", cluster: cluster, subject: node)
            event.detail[EndingCertificates.field] = text
            try act(event) { _ throws(FleetError) in
                try db.run(
                    "UPDATE nodes SET certificates_told = ? WHERE cluster = ? AND name = ?", text, cluster, node)
            }
        } catch { log.error("which certificates of \(cluster)/\(node) end soon was not recorded", error) }
    }

    /// Of the node that saved it, as the event of a snapshot has them.
    func endingCertificates(_ record: SnapshotRecord) throws(FleetError) -> String? {
        let told: [CertificateExpiry]?? = try db.first(
            "SELECT certificates FROM nodes WHERE cluster = ? AND name = ?", record.cluster, record.node
        ) { row throws(FleetError) in try row.json([CertificateExpiry].self, "certificates") }
        return EndingCertificates.text(
            record.facts.certificates + ((told ?? nil) ?? []), at: record.facts.savedAt)
    }
}

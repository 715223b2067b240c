internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// The certificates that etcd and its clients depend on. etcdctl's own words for an expired one are hard to read; here
/// the file and the day are named, before anything is begun.
enum CertificateCheck {
    /// - Returns: the earliest end of each file, in the order authority, certificate.
    /// - Throws: `certificate-expired`; `missing-certificate` for a file that is gone or holds no certificate.
    static func expiries(_ instance: EtcdInstance, now: Timestamp) throws(FleetError) -> [CertificateExpiry] {
        var result: [CertificateExpiry] = []
        for path in [instance.cacert, instance.cert].compactMap({ $0 }) {
            guard FileSystem.exists(path) else {
                throw FleetError(
                    .missingCertificate, "\(path) does not exist", hint: "put the file back; etcd needs it too")
            }
            let certificates: [X509Certificate]
            do throws(FleetError) { certificates = try X509Certificate.all(pem: try FileSystem.readText(path)) } catch {
                throw FleetError(
                    .missingCertificate, "\(path) holds no certificate: \(error.message)",
                    hint: "put a PEM certificate there")
            }
            // One of several authorities may have ended without harm; of a chain the first is the certificate itself.
            let ends = certificates.map(\.notAfter)
            guard let end = path == instance.cacert ? ends.max() : ends.first else {
                throw FleetError(
                    .missingCertificate, "\(path) holds no certificate", hint: "put a PEM certificate there")
            }
            guard end > now else {
                throw FleetError(
                    .certificateExpired, "the certificate in \(path) expired at \(end)",
                    hint: "renew it (kubeadm certs renew all, or your own way), restart etcd, then try again")
            }
            result.append(CertificateExpiry(path: path, notAfter: end))
        }
        return result
    }

    /// One line for each that ends within 30 days.
    static func warnings(_ expiries: [CertificateExpiry], now: Timestamp) -> [String] {
        expiries.filter { $0.notAfter < now.adding(.seconds(30 * 86400)) }.map {
            "the certificate in \($0.path) expires at \($0.notAfter)"
        }
    }
}

public import FleetCrypto

/// What a certificate makes of its holder.
public enum CertificateRole: String, Sendable {
    case coordinator = "fleet:coordinator"
    case agent = "fleet:agent"
    case person = "fleet:operator"

    /// From a certificate that the fleet's authority has vouched for; nil for anything else.
    public init?(_ certificate: X509Certificate) {
        guard let organization = certificate.organization, let role = CertificateRole(rawValue: organization) else {
            return nil
        }
        self = role
    }
}

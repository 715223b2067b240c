internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem
internal import FleetYAML

/// What is in a file of a node's configuration. Pure.
struct ConfigurationContent {
    private(set) var certificates: [CertificateExpiry] = []
    private(set) var holdsSecret = false
    /// Of an encryption-at-rest configuration.
    let encryptionKeys: [String]?

    /// Of one file; a chain has a few.
    private static let limit = 8

    init(_ bytes: [UInt8], path: String) {
        let text = String(decoding: bytes, as: UTF8.self)
        encryptionKeys = EncryptionConfiguration.keys(bytes, path: path)
        holdsSecret = text.contains("PRIVATE KEY-----") || encryptionKeys != nil
        if text.contains("-----BEGIN CERTIFICATE-----") { add(text, path) }
        guard text.contains("client-key-data") || text.contains("client-certificate-data") || text.contains("token")
        else { return }
        for user in (try? YAML.document(bytes, file: path))?["users"]?.items ?? [] {
            let entry = user["user"]
            if ["client-key-data", "token", "password"].contains(where: { entry?[$0]?.text != nil }) {
                holdsSecret = true
            }
            // The cluster's authority stands in every kubeconfig; its own file tells of it.
            guard let encoded = entry?["client-certificate-data"]?.text, let pem = [UInt8](base64: encoded) else {
                continue
            }
            add(String(decoding: pem, as: UTF8.self), path)
        }
    }

    private mutating func add(_ pem: String, _ path: String) {
        guard let all = try? X509Certificate.all(pem: pem) else { return }
        let (authorities, others) = (all.filter(\.isAuthority), all.filter { !$0.isAuthority })
        var told = others.prefix(Self.limit)
        // Of several authorities one may have ended without harm; behind a certificate they are only its chain.
        if others.isEmpty, let last = authorities.max(by: { $0.notAfter < $1.notAfter }) { told = [last] }
        certificates += told.map {
            CertificateExpiry(
                path: path, notAfter: $0.notAfter,
                subject: ($0.commonName ?? $0.organization).map { String($0.prefix(200)) }, isAuthority: $0.isAuthority,
                notBefore: $0.notBefore)
        }
    }
}

internal import COpenSSL
public import FleetSystem

/// A PKCS #10 request: proof that who asks holds the private key. Names in it are ignored by the authority.
public struct CertificateRequest: Sendable {
    public let pem: String

    public init(key: PrivateKey, commonName: String) throws(FleetError) {
        let request = try made(X509_REQ_new(), "make a certificate request")
        defer { X509_REQ_free(request) }
        let name = X509_REQ_get_subject_name(request)
        guard
            X509_NAME_add_entry_by_NID(
                name, NID_commonName, MBSTRING_UTF8, Array(commonName.utf8), Int32(commonName.utf8.count), -1, 0) == 1,
            X509_REQ_set_pubkey(request, key.key) == 1, X509_REQ_sign(request, key.key, EVP_sha256()) > 0
        else { throw openSSLError("make a certificate request") }
        let output = try MemoryBIO()
        guard PEM_write_bio_X509_REQ(output.bio, request) == 1 else {
            throw openSSLError("write a certificate request")
        }
        pem = output.text
    }

    public init(pem: String) { self.pem = pem }
}

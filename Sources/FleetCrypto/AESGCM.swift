internal import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) with nonces of 96 bits and tags of 128.
public enum AESGCM {
    public static let nonceLength = 12
    public static let tagLength = 16

    /// - Returns: nonce, ciphertext, tag. The nonce is random: a key must not seal more than 2^32 messages, so that two
    ///   of them having the same one stays out of reach.
    public static func seal(
        _ plaintext: UnsafeRawBufferPointer, key: SymmetricKey, authenticating associated: [UInt8]
    ) -> [UInt8] {
        let total = nonceLength + plaintext.count + tagLength
        return [UInt8](unsafeUninitializedCapacity: total) { output, count in
            let base = output.baseAddress!
            precondition(RAND_bytes(base, Int32(nonceLength)) == 1)
            let context = EVP_CIPHER_CTX_new()
            defer { EVP_CIPHER_CTX_free(context) }
            var length: Int32 = 0
            // These fail only for a cipher that is not there or lengths that are none.
            precondition(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key.bytes, base) == 1)
            precondition(EVP_EncryptUpdate(context, nil, &length, associated, Int32(associated.count)) == 1)
            let cipher = base + nonceLength
            precondition(
                EVP_EncryptUpdate(
                    context, cipher, &length, plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    Int32(plaintext.count)) == 1)
            let tag = cipher + plaintext.count
            precondition(EVP_EncryptFinal_ex(context, tag, &length) == 1)
            precondition(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), tag) == 1)
            count = total
        }
    }

    /// - Returns: the plaintext; nil where a bit of it, of the associated bytes or of the key is another.
    public static func open(
        _ sealed: UnsafeRawBufferPointer, key: SymmetricKey, authenticating associated: [UInt8]
    ) -> [UInt8]? {
        guard sealed.count >= nonceLength + tagLength else { return nil }
        let base = sealed.baseAddress!.assumingMemoryBound(to: UInt8.self)
        let length = sealed.count - nonceLength - tagLength
        let context = EVP_CIPHER_CTX_new()
        defer { EVP_CIPHER_CTX_free(context) }
        var isAuthentic = false
        let plaintext = [UInt8](unsafeUninitializedCapacity: length) { output, count in
            var done: Int32 = 0
            var nowhere = [UInt8](repeating: 0, count: 16)
            precondition(EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, key.bytes, base) == 1)
            precondition(EVP_DecryptUpdate(context, nil, &done, associated, Int32(associated.count)) == 1)
            if length > 0 {
                precondition(
                    EVP_DecryptUpdate(context, output.baseAddress, &done, base + nonceLength, Int32(length)) == 1)
            }
            var tag = Array(UnsafeBufferPointer(start: base + nonceLength + length, count: tagLength))
            precondition(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(tagLength), &tag) == 1)
            isAuthentic = EVP_DecryptFinal_ex(context, &nowhere, &done) > 0
            count = length
        }
        if !isAuthentic { _ = openSSLReasons() }
        return isAuthentic ? plaintext : nil
    }
}

/// A keyed fingerprint of 128 bits, five times as fast as HMAC-SHA256: GMAC with one nonce for all.
///
/// Without the key, two different inputs of up to a megabyte have the same fingerprint with a probability of at most
/// 2^-111, whoever chose them (GHASH is almost universal). That needs the fingerprints to stay secret: they are no
/// authentication codes, and whoever stores them encrypts them.
public final class Fingerprinter {
    private let context: OpaquePointer
    private static let nonce = [UInt8](repeating: 0, count: AESGCM.nonceLength)

    public init(key: SymmetricKey) {
        context = EVP_CIPHER_CTX_new()
        precondition(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key.bytes, Self.nonce) == 1)
    }

    deinit { EVP_CIPHER_CTX_free(context) }

    public func fingerprint(_ bytes: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
        var length: Int32 = 0
        var result: (UInt64, UInt64) = (0, 0)
        precondition(EVP_EncryptInit_ex(context, nil, nil, nil, Self.nonce) == 1)
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        precondition(EVP_EncryptUpdate(context, nil, &length, start, Int32(bytes.count)) == 1)
        withUnsafeMutableBytes(of: &result) { tag in
            let start = tag.baseAddress!.assumingMemoryBound(to: UInt8.self)
            precondition(EVP_EncryptFinal_ex(context, start, &length) == 1)
            precondition(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag.baseAddress) == 1)
        }
        return (UInt64(littleEndian: result.0), UInt64(littleEndian: result.1))
    }
}

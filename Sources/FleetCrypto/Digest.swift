internal import COpenSSL

/// A digest that is fed piece by piece.
///
/// The context has one owner; that owner may move to another thread between calls, as an upload does that is hashed
/// on whichever disk thread is free.
public struct SHA256: ~Copyable, @unchecked Sendable {
    private let context: OpaquePointer

    public init() {
        // EVP_MD_CTX_new fails only without memory, EVP_DigestInit_ex only for a digest that is not there.
        context = EVP_MD_CTX_new()
        precondition(EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1)
    }

    private init(context: OpaquePointer) { self.context = context }

    deinit { EVP_MD_CTX_free(context) }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1)
    }

    public mutating func update(_ bytes: ArraySlice<UInt8>) { bytes.withUnsafeBytes { update($0) } }
    public mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of what was fed so far; more can be fed afterwards.
    public func current() -> [UInt8] {
        let copy = SHA256(context: EVP_MD_CTX_new())
        precondition(EVP_MD_CTX_copy_ex(copy.context, context) == 1)
        return copy.finalize()
    }

    /// 32 bytes.
    public consuming func finalize() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        precondition(EVP_DigestFinal_ex(context, &digest, nil) == 1)
        return digest
    }

    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var hasher = SHA256()
        hasher.update(bytes)
        return hasher.finalize()
    }
}

/// Only for etcd's member and cluster ids, which are defined by it; never for trust.
public enum SHA1 {
    /// 20 bytes.
    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 20)
        precondition(EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha1(), nil) == 1)
        return digest
    }
}

/// Random bytes for secrets, from libcrypto's generator.
public enum SecureRandom {
    public static func bytes(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        // "RAND_bytes() returns 1 on success": without randomness no secret may be made.
        precondition(RAND_bytes(&bytes, Int32(count)) == 1)
        return bytes
    }
}

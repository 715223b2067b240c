internal import COpenSSL
public import FleetSystem

/// 32 secret bytes. They are never printed and never part of an error.
public struct SymmetricKey: Sendable, Equatable {
    public static let length = 32
    package let bytes: [UInt8]

    /// - Throws: `malformed` for any other length.
    public init(_ bytes: [UInt8]) throws(FleetError) {
        guard bytes.count == Self.length else {
            throw FleetError(.malformed, "a key of \(bytes.count) bytes instead of \(Self.length)")
        }
        self.bytes = bytes
    }

    package init(derived bytes: [UInt8]) { self.bytes = bytes }

    public static func random() -> SymmetricKey { SymmetricKey(derived: SecureRandom.bytes(length)) }

    /// A key for one purpose: HKDF-SHA256 (RFC 5869) with one block of output. Keys of different purposes or salts tell
    /// nothing about each other.
    public func derive(_ purpose: String, salt: [UInt8] = []) -> SymmetricKey {
        let extracted = HMACSHA256.code(of: bytes, key: salt)
        return SymmetricKey(derived: HMACSHA256.code(of: Array(purpose.utf8) + [1], key: extracted))
    }

    /// Compares without telling by its duration where the difference is.
    public static func == (a: SymmetricKey, b: SymmetricKey) -> Bool {
        CRYPTO_memcmp(a.bytes, b.bytes, length) == 0
    }
}

public enum HMACSHA256 {
    /// 32 bytes.
    public static func code(of bytes: [UInt8], key: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 32)
        // "If key is NULL ... the existing key is reused": an empty array must therefore still be a pointer.
        let key = key.isEmpty ? [0] : key
        precondition(HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &code, nil) != nil)
        return code
    }
}

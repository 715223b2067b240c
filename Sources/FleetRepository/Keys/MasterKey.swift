import FleetCrypto
public import FleetSystem

/// What opens a repository: the master key, which the coordinator keeps in a file, or the recovery key, which somebody
/// keeps on paper. Both are 32 random bytes; they differ in how they are written.
public struct RepositoryKey: Sendable {
    public enum Role: String, Sendable, Codable, CaseIterable { case master, recovery }

    public let role: Role
    let secret: SymmetricKey

    public static func random(_ role: Role) -> RepositoryKey { RepositoryKey(role: role, secret: .random()) }

    private init(role: Role, secret: SymmetricKey) {
        self.role = role
        self.secret = secret
    }

    // Crockford's base 32: no i, l, o, u.
    private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)
    private static let checkLength = 3

    /// "fleet-recovery-" and 56 characters in groups of seven: 35 bytes, of which the last three are a check, so that a
    /// slip of the pen is told from a wrong key.
    public var text: String {
        let bytes = secret.bytes + Self.check(role, secret.bytes)
        var (bits, width) = (UInt64(0), 0)
        var groups: [String] = []
        var digits: [UInt8] = []
        for byte in bytes {
            bits = (bits << 8 | UInt64(byte)) & 0xffff
            width += 8
            while width >= 5 {
                width -= 5
                digits.append(Self.alphabet[Int(bits >> UInt64(width)) & 31])
                if digits.count == 7 {
                    groups.append(String(decoding: digits, as: UTF8.self))
                    digits = []
                }
            }
        }
        return "fleet-\(role.rawValue)-" + groups.joined(separator: "-")
    }

    /// Either case; spaces, line ends and hyphens between characters are as good as none.
    ///
    /// - Throws: `malformed`, without a word of what was typed.
    public init(text: String) throws(FleetError) {
        let typed = String(text.lowercased().filter { !$0.isWhitespace })
        guard let role = Role.allCases.first(where: { typed.contains("fleet-\($0.rawValue)-") }) else {
            throw FleetError(
                .malformed, "this is no key of a repository",
                hint: "it begins with fleet-master- or fleet-recovery-")
        }
        let start = typed.range(of: "fleet-\(role.rawValue)-")
        var (bits, width) = (UInt64(0), 0)
        var bytes: [UInt8] = []
        for character in typed.utf8.dropFirst(start) where character != UInt8(ascii: "-") {
            let upper = character >= UInt8(ascii: "a") ? character - 32 : character
            guard let value = Self.alphabet.firstIndex(of: upper) else {
                throw FleetError(.malformed, "the key has a character that keys don't have", hint: "type it again")
            }
            bits = (bits << 5 | UInt64(value)) & 0xffff
            width += 5
            if width >= 8 {
                width -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(width)))
            }
        }
        let secret = Array(bytes.prefix(SymmetricKey.length))
        guard bytes.count == SymmetricKey.length + Self.checkLength,
            Array(bytes.suffix(Self.checkLength)) == Self.check(role, secret)
        else { throw FleetError(.malformed, "the key is mistyped or cut", hint: "type it again, all of it") }
        self.init(role: role, secret: try SymmetricKey(secret))
    }

    private static func check(_ role: Role, _ secret: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(Array("fleet-\(role.rawValue)".utf8) + secret).prefix(checkLength))
    }
}

extension String {
    /// Bytes up to the end of `text`'s first occurrence.
    fileprivate func range(of text: String) -> Int {
        let (all, wanted) = (Array(utf8), Array(text.utf8))
        for i in 0...(all.count - wanted.count) where Array(all[i..<(i + wanted.count)]) == wanted {
            return i + wanted.count
        }
        return 0
    }
}

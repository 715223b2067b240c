internal import FleetCrypto
public import FleetReactor
public import FleetSystem

/// What lets one agent or one operator in, once: where the coordinator is, by which authority it is known, and a
/// secret that proves that an operator wanted it.
///
///     fleet1.<secret>.<authority's SHA-256>@host:port
public struct JoinToken: Sendable, Equatable {
    private static let prefix = "fleet1"

    public var address: Address
    /// SHA-256 of the authority's certificate, lower-case hexadecimal.
    public var authorityFingerprint: String
    /// 32 characters of base 16: 128 random bits.
    public var secret: String

    public init(address: Address, authorityFingerprint: String) {
        self.address = address
        self.authorityFingerprint = authorityFingerprint
        secret = SecureRandom.bytes(16).hex
    }

    /// - Throws: `malformed`; the error never repeats the text.
    public init(_ text: String) throws(FleetError) {
        let hint =
            "copy the whole token as fleetctl printed it, or make a new one: 'fleetctl agent token CLUSTER' for a node, 'fleetctl operator token NAME' for a person"
        let halves = text.split(separator: "@", maxSplits: 1)
        let parts = halves.first?.split(separator: ".") ?? []
        guard halves.count == 2, parts.count == 3, parts[0] == Self.prefix, parts[1].utf8.count == 32,
            parts[2].utf8.count == 64,
            [UInt8](hex: parts[1]) != nil, [UInt8](hex: parts[2]) != nil
        else { throw FleetError(.malformed, "this is not a join token", hint: hint) }
        do throws(FleetError) { address = try Address(String(halves[1])) } catch {
            throw FleetError(.malformed, "the token's address is not one", hint: hint)
        }
        secret = String(parts[1])
        authorityFingerprint = String(parts[2])
    }

    public var text: String { "\(Self.prefix).\(secret).\(authorityFingerprint)@\(address)" }

    /// What the coordinator keeps of it: SHA-256 of the secret, hexadecimal. With 128 random bits no slow hash is needed.
    public static func hash(secret: String) -> String { SHA256.hash(Array(secret.utf8)).hex }
}

internal import FleetSystem

/// Whether the configuration that is kept with a snapshot decrypts what kube-apiserver has encrypted in it, as far as the names of
/// keys tell: of a KMS plugin the configuration is kept, while its key is with the KMS.
public struct Decryption: Codable, Sendable, Equatable {
    /// By what values are encrypted, see `EncryptionKeyName`; "other" for a provider that is not known.
    public var needed: [String]
    /// What is kept to decrypt with; empty: nothing. nil: something, of which no names are known.
    public var offered: [String]?
    /// Of `needed`, what is not offered.
    public var missing: [String]

    public var isKept: Bool { missing.isEmpty }

    /// - Parameters:
    ///   - providers: as `SnapshotVerification.encryptedAtRest` has them, old revisions included.
    ///   - keys: as `SnapshotVerification.encryptionKeys` has them; nil: only providers can be compared.
    ///   - kept: with the snapshot.
    /// - Returns: nil where nothing is encrypted, or nobody looked.
    public init?(providers: [String]?, keys: [String]?, kept: [NodeBundle]) {
        guard let providers, !providers.isEmpty else { return nil }
        let needed = keys ?? providers
        self.needed = needed
        // What came before anybody looked is given the benefit of the doubt, and so is what could not be read.
        let files = kept.filter { $0.decrypts != false }
        guard !files.isEmpty else {
            (offered, missing) = ([], needed)
            return
        }
        guard files.allSatisfy({ $0.encryptionKeys != nil }) else {
            (offered, missing) = (nil, [])
            return
        }
        let offered = Set(files.flatMap { $0.encryptionKeys ?? [] })
        self.offered = offered.sorted()
        missing = needed.filter { !Self.offers(offered, $0) }
    }

    /// Of one that was imported nothing is ever kept.
    public init?(of record: SnapshotRecord) {
        guard record.imported == nil else { return nil }
        self.init(
            providers: record.verification?.encryptedAtRest, keys: record.verification?.encryptionKeys,
            kept: record.bundles ?? [])
    }

    /// Whose name is not known is compared by its provider, and whose provider is not known, not at all.
    public static func offers(_ offered: Set<String>, _ needed: String) -> Bool {
        let provider = EncryptionKeyName.provider(of: needed)
        guard EncryptionKeyName.providers.contains(provider) else { return true }
        if needed != provider { return offered.contains(needed) }
        return offered.contains { EncryptionKeyName.provider(of: $0) == provider }
    }

    /// What the kept configuration is said to have.
    public var offer: String {
        guard let offered else { return "no names that are known" }
        return offered.isEmpty ? "no key" : EncryptionKeyName.words(offered)
    }
}

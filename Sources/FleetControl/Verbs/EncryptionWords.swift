internal import FleetProtocol
internal import FleetSystem

/// What is said of values that kube-apiserver has encrypted.
enum EncryptionWords {
    /// - Parameter keys: of the live values; nil where only providers are known.
    static func line(_ providers: [String], _ keys: [String]?) -> String {
        if keys?.isEmpty == true {
            return "old revisions alone, by kube-apiserver (\(providers.joined(separator: ", ")))"
        }
        let by = keys.map { all in all.map { EncryptionKeyName.words([$0]) } } ?? providers
        return
            "some values, by kube-apiserver (\(by.joined(separator: ", "))): nobody reads them without its encryption "
            + "configuration"
    }

    /// Whether that is kept; nil where it can't be told.
    static func kept(_ decryption: Decryption) -> String? {
        if !decryption.isKept {
            return decryption.offered?.isEmpty == false
                ? "not kept: \(EncryptionKeyName.words(decryption.missing)); the kept configuration has \(decryption.offer)"
                : "not kept: no configuration with it has \(EncryptionKeyName.words(decryption.missing))"
        }
        guard decryption.offered != nil, !decryption.needed.isEmpty, !decryption.needed.contains("other") else {
            return nil
        }
        let isKMS = decryption.needed.contains { EncryptionKeyName.provider(of: $0) == "kms" }
        return "\(EncryptionKeyName.words(decryption.needed)) in the configuration that is kept with it"
            + (isKMS ? "; of KMS plugins their names, the key is with the KMS" : "")
    }
}

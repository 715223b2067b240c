internal import FleetProtocol
internal import FleetSystem
internal import FleetYAML

/// kube-apiserver's configuration of encryption at rest (`--encryption-provider-config`): which keys it has, by their names.
enum EncryptionConfiguration {
    /// As `EncryptionKeyName` has them, in alphabetical order.
    ///
    /// - Returns: nil for what is none, can't be read, or has more than are told.
    static func keys(_ bytes: [UInt8], path: String) -> [String]? {
        // Kubernetes up to 1.12 called it EncryptionConfig.
        guard String(decoding: bytes, as: UTF8.self).contains("EncryptionConfig"),
            let root = try? YAML.document(bytes, file: path),
            ["EncryptionConfiguration", "EncryptionConfig"].contains(root["kind"]?.text),
            let resources = root["resources"]?.items
        else { return nil }
        var names: Set<String> = []
        for provider in resources.flatMap({ $0["providers"]?.items ?? [] }).flatMap({ $0.pairs ?? [] }) {
            let (name, content) = (provider.key.text ?? "", provider.value)
            guard EncryptionKeyName.providers.contains(name) else { continue }
            let entries = name == "kms" ? [content] : content["keys"]?.items ?? []
            for entry in entries { names.insert(EncryptionKeyName.make(name, (entry["name"]?.text ?? "").utf8)) }
        }
        return names.count <= BundleLimits.encryptionKeys ? names.sorted() : nil
    }
}

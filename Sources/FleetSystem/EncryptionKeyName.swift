/// By what kube-apiserver encrypts a value before it gives it to etcd: "aescbc/key1", "kms/PLUGIN". Never a key itself.
public enum EncryptionKeyName {
    /// Those that k8s.io/apiserver has; "identity" encrypts nothing.
    public static let providers = ["aescbc", "aesgcm", "kms", "secretbox"]
    /// Bytes of a key's or plugin's name; of one that is longer only the provider is told.
    public static let limit = 64

    /// - Parameter name: in a value it ends at a colon, so no more of it tells keys apart.
    /// - Returns: the provider alone where the name is none that is repeated.
    public static func make(_ provider: String, _ name: some Sequence<UInt8>) -> String {
        let name = Array(name.prefix { $0 != UInt8(ascii: ":") }.prefix(limit + 1))
        guard isPlain(name) else { return provider }
        return provider + "/" + String(decoding: name, as: UTF8.self)
    }

    /// One that `make` gives.
    public static func isValid(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        guard let provider = parts.first, providers.contains(where: { $0.utf8.elementsEqual(provider) }) else {
            return false
        }
        return parts.count == 1 || isPlain(parts[1])
    }

    public static func provider(of text: String) -> String { String(text.prefix { $0 != "/" }) }

    /// "aescbc key9 and kms mykms"
    public static func words(_ all: [String]) -> String {
        let words = all.map { one in
            let provider = provider(of: one)
            return one == provider ? one : provider + " " + one.dropFirst(provider.count + 1)
        }
        guard let last = words.last, words.count > 1 else { return words.first ?? "none" }
        return words.dropLast().joined(separator: ", ") + " and " + last
    }

    private static func isPlain(_ name: some Collection<UInt8>) -> Bool {
        (1...limit).contains(name.count) && name.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") }
    }
}

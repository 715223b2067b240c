/// Values that kube-apiserver has encrypted before it gave them to etcd. They begin with `k8s:enc:PROVIDER:VERSION:` (k8s.io/apiserver,
/// pkg/server/options/encryptionconfig), and without the configuration that names the provider's key nobody reads them.
struct EncryptionAtRest {
    private static let prefix = Array("k8s:enc:".utf8)
    /// What stands in a value is anybody's: only names that are known are repeated.
    private static let known = ["aescbc", "aesgcm", "kms", "secretbox"].map { Array("\($0):".utf8) }
    private var isSeen = [Bool](repeating: false, count: known.count + 1)

    /// In alphabetical order; "other" for those that are not known.
    var providers: [String] {
        var names: [String] = []
        for (index, name) in Self.known.enumerated() where isSeen[index] {
            names.append(String(decoding: name.dropLast(), as: UTF8.self))
        }
        if isSeen[Self.known.count] { names.append("other") }
        return names
    }

    mutating func note(_ value: UnsafeRawBufferPointer) {
        guard value.count > Self.prefix.count, value[0] == Self.prefix[0], value.starts(with: Self.prefix) else {
            return
        }
        let rest = value[Self.prefix.count...]
        isSeen[Self.known.firstIndex { rest.starts(with: $0) } ?? Self.known.count] = true
    }
}

internal import FleetSystem

/// Values that kube-apiserver has encrypted before it gave them to etcd. They begin with `k8s:enc:PROVIDER:VERSION:` (k8s.io/apiserver,
/// pkg/server/options/encryptionconfig), and without the configuration that names the provider's key nobody reads them.
struct EncryptionAtRest {
    static let prefix = Array("k8s:enc:".utf8)
    /// What stands in a value is anybody's: only names that are known are repeated.
    static let known = EncryptionKeyName.providers.map { Array("\($0):".utf8) }
    private var isSeen = [Bool](repeating: false, count: known.count + 1)

    /// In alphabetical order; "other" for those that are not known.
    var providers: [String] {
        var names: [String] = []
        for (index, name) in EncryptionKeyName.providers.enumerated() where isSeen[index] { names.append(name) }
        if isSeen[Self.known.count] { names.append(Self.other) }
        return names
    }

    static let other = "other"

    mutating func note(_ value: UnsafeRawBufferPointer) {
        guard value.count > Self.prefix.count, value[0] == Self.prefix[0], value.starts(with: Self.prefix) else {
            return
        }
        let rest = value[Self.prefix.count...]
        isSeen[Self.known.firstIndex { rest.starts(with: $0) } ?? Self.known.count] = true
    }
}

/// What only the live values tell: those of before are none that anybody has to read.
struct LiveValues {
    /// Of names that differ; it takes somebody's hand to have more.
    static let limit = 16
    /// With the bytes that a value begins with, by which most are known again.
    private var named: [(head: [UInt8], name: String)] = []
    private var nameless: Set<String> = []
    /// Values that kube-apiserver has written, or keys where it keeps them.
    private(set) var holdsKubernetes = false

    private static let registry = Array("/registry/".utf8)
    private static let protobuf = Array("k8s\0".utf8)

    /// By which keys they are encrypted, as `EncryptionKeyName` has them, or "other"; in alphabetical order.
    var encryptionKeys: [String] { nameless.union(named.map(\.name)).sorted() }

    mutating func note(_ record: borrowing KeyValue) {
        let value = record.value
        if !holdsKubernetes {
            holdsKubernetes = record.key.starts(with: Self.registry) || value.starts(with: Self.protobuf)
        }
        let prefix = EncryptionAtRest.prefix
        guard value.count > prefix.count, value[0] == prefix[0], value.starts(with: prefix) else { return }
        holdsKubernetes = true
        guard !named.contains(where: { value.starts(with: $0.head) }) else { return }
        let rest = value[prefix.count...]
        guard let index = EncryptionAtRest.known.firstIndex(where: { rest.starts(with: $0) }) else {
            nameless.insert(EncryptionAtRest.other)
            return
        }
        let provider = EncryptionKeyName.providers[index]
        // `v1:NAME:`, where NAME is a key's or a KMS plugin's; of such a plugin also `v2:NAME:`.
        let versioned = rest.dropFirst(provider.utf8.count + 1)
        let text = versioned.dropFirst(3).prefix(EncryptionKeyName.limit + 1)
        guard ["v1:", "v2:"].contains(where: { versioned.starts(with: $0.utf8) }),
            let end = text.firstIndex(of: UInt8(ascii: ":"))
        else {
            nameless.insert(provider)
            return
        }
        let name = EncryptionKeyName.make(provider, text)
        if name == provider {
            nameless.insert(provider)
        } else if named.count < Self.limit {
            named.append((Array(value[...end]), name))
        }
    }
}

/// What a key of kube-apiserver is about: `/registry/KIND/NAMESPACE/NAME`, `/registry/KIND/NAME` for what has no
/// namespace, `/registry/GROUP/KIND/...` for custom resources (a group has a dot in it), and two words for `services/specs`
/// and `services/endpoints` (k8s.io/apiserver, `registry/generic`; pkg/registry/core).
public struct KubernetesName: Hashable, Comparable, Sendable {
    /// "pods", "services/specs", "cert-manager.io/certificates"; the key's first words where it is not of Kubernetes.
    public var kind: String
    /// "" for what has no namespace.
    public var namespace: String

    public init(kind: String, namespace: String) {
        self.kind = kind
        self.namespace = namespace
    }

    public init(key: some Collection<UInt8>) {
        var words = key.split(separator: UInt8(ascii: "/"), maxSplits: 5).map { Self.word($0) }[...]
        guard words.first == "registry", words.count > 1, key.first == UInt8(ascii: "/") else {
            self.init(kind: "(other)", namespace: "")
            return
        }
        words = words.dropFirst()
        var kind = words.removeFirst()
        let isPair = kind.contains(".") || (kind == "services" && ["specs", "endpoints"].contains(words.first))
        if isPair, words.count > 1 { kind += "/" + words.removeFirst() }
        self.init(kind: kind, namespace: words.count > 1 ? words[words.startIndex] : "")
    }

    /// Kubernetes has none longer than 253, but a key is of any length, and thousands of names are held at once.
    static let wordLimit = 256

    /// The first `wordLimit` bytes of one, whole characters only.
    private static func word(_ bytes: some Collection<UInt8>) -> String {
        var kept = Array(bytes.prefix(wordLimit + 1))
        if kept.count > wordLimit {
            // What goes is the first byte behind the limit, or all of the character that this is part of.
            while let last = kept.popLast(), last & 0xC0 == 0x80 {}
        }
        return String(decoding: kept, as: UTF8.self)
    }

    public static func < (a: Self, b: Self) -> Bool { (a.kind, a.namespace) < (b.kind, b.namespace) }

    /// Whether a key may be a Secret's. Errs on that side: an apiserver's prefix can be any, so what counts is the word
    /// "secrets" anywhere before the last one, "/registry/secrets/ns/name" as well as "/clusters/a/secrets/ns/name".
    public static func isSecret(key: some Collection<UInt8>) -> Bool {
        let words = key.split(separator: UInt8(ascii: "/"))
        return words.dropLast().contains { $0.elementsEqual("secrets".utf8) }
    }
}

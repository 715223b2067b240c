public import FleetSystem

/// What of a node's configuration is more than a bundle takes.
public enum BundleLimits {
    /// Bytes of one file.
    public static let file = 1 << 20
    /// Bytes of all files.
    public static let total = 16 << 20
    public static let files = 1000
    /// Those that are named; how many there are besides is a number.
    public static let leftOut = 200
    public static let links = 1000
    /// Names of keys, of one file and of all.
    public static let encryptionKeys = 32
    /// Bytes of a name in a path: a file that is being written has a longer name for a moment.
    static let component = 200
    /// Bytes of the table of contents.
    static let manifest = 4 << 20
    /// Bytes of a whole bundle as it travels.
    public static let encoded = total + manifest + Bundle.headLength
}

/// The table of contents of a bundle. Paths are the node's own.
public struct BundleManifest: Codable, Sendable, Equatable {
    public static let version = 1

    public struct File: Codable, Sendable, Equatable {
        public var path: String
        /// What it is for, in a word: "manifest", "pki", "kubeconfig", "encryption", "kubelet", "etcd", "unit".
        public var kind: String
        public var size: Int
        /// Lower-case hexadecimal.
        public var sha256: String
        /// Permission bits.
        public var mode: UInt32
        public var owner: UInt32
        public var group: UInt32
        /// Last change of content, seconds since 1970.
        public var modified: Int64
        /// A private key, a token or a password is in it, as far as its collector could tell.
        public var holdsSecret: Bool
        /// Of the certificates in it; nil where there are none.
        public var certificates: [CertificateExpiry]?
        /// Of an encryption-at-rest configuration: what it has keys of, or KMS plugins, see `EncryptionKeyName`. nil where it
        /// is none, could not be read, or nobody looked.
        public var encryptionKeys: [String]?

        public init(
            path: String, kind: String, size: Int, sha256: String, mode: UInt32, owner: UInt32, group: UInt32,
            modified: Int64, holdsSecret: Bool, certificates: [CertificateExpiry]? = nil,
            encryptionKeys: [String]? = nil
        ) {
            self.path = path
            self.kind = kind
            self.size = size
            self.sha256 = sha256
            self.mode = mode
            self.owner = owner
            self.group = group
            self.modified = modified
            self.holdsSecret = holdsSecret
            self.certificates = certificates
            self.encryptionKeys = encryptionKeys
        }

        /// Wherever it lies: in /etc/kubernetes/pki it is of another kind.
        public var decrypts: Bool { kind == BundleManifest.encryption || encryptionKeys != nil }
    }

    /// A symbolic link where a file or directory was looked for; what it points to is collected under its own name.
    public struct Link: Codable, Sendable, Equatable {
        public var path: String
        public var target: String
        public init(path: String, target: String) {
            self.path = path
            self.target = target
        }
    }

    public struct LeftOut: Codable, Sendable, Equatable {
        public var path: String
        public var reason: String
        public init(path: String, reason: String) {
            self.path = path
            self.reason = reason
        }
    }

    public var version: Int
    /// In the order of their paths' bytes, each once.
    public var files: [File]
    public var links: [Link]
    public var leftOut: [LeftOut]
    /// Besides those that are named.
    public var moreLeftOut: Int
    /// Of all that was left out, so many are certificates, keys, what decrypts or etcd's own; nil: none.
    public var essentialLeftOut: Int?

    public init(
        files: [File], links: [Link] = [], leftOut: [LeftOut] = [], moreLeftOut: Int = 0, essentialLeftOut: Int? = nil
    ) {
        version = Self.version
        self.files = files
        self.links = links
        self.leftOut = leftOut
        self.moreLeftOut = moreLeftOut
        self.essentialLeftOut = essentialLeftOut
    }

    /// What makes readable again what kube-apiserver encrypts before it gives it to etcd.
    public static let encryption = "encryption"
    public var decrypts: Bool { files.contains(where: \.decrypts) }
    /// What is in it to decrypt with; nil where that is not known of all that decrypts.
    public var encryptionKeys: [String]? {
        let all = files.filter(\.decrypts)
        guard !all.isEmpty, all.allSatisfy({ $0.encryptionKeys != nil }) else { return nil }
        let names = Set(all.flatMap { $0.encryptionKeys ?? [] })
        return names.count <= BundleLimits.encryptionKeys ? names.sorted() : nil
    }

    public var bytes: Int { files.reduce(0) { $0 + $1.size } }

    /// What somebody else has written: that it keeps to the limits, and that its paths can be made below a directory and
    /// lead nowhere else.
    ///
    /// - Throws: `malformed`.
    public func check() throws(FleetError) {
        guard version == Self.version else {
            throw FleetError(
                .malformed, "the bundle is of version \(version), and this program knows \(Self.version)",
                hint: "upgrade the older side")
        }
        guard files.count <= BundleLimits.files, links.count <= BundleLimits.links,
            leftOut.count <= BundleLimits.leftOut, moreLeftOut >= 0, (essentialLeftOut ?? 0) >= 0
        else { throw FleetError(.malformed, "the bundle names more than a bundle can hold") }
        var total = 0
        for file in files {
            guard (0...BundleLimits.file).contains(file.size), total + file.size <= BundleLimits.total else {
                throw FleetError(.malformed, "\(Names.quote(file.path)) would be larger than a bundle takes")
            }
            total += file.size
            let keys = file.encryptionKeys ?? []
            guard file.kind.utf8.count <= 32, file.sha256.utf8.count == 64,
                keys.count <= BundleLimits.encryptionKeys, keys.allSatisfy(EncryptionKeyName.isValid)
            else {
                throw FleetError(.malformed, "what the bundle says of \(Names.quote(file.path)) is not valid")
            }
        }
        try BundlePath.check(files.map(\.path))
        for link in links { try BundlePath.check(link.path) }
    }
}

/// Paths as a bundle may have them.
public enum BundlePath {
    /// Absolute, of plain components: it says the same wherever it is put below a directory.
    ///
    /// - Throws: `malformed`.
    public static func check(_ path: String) throws(FleetError) {
        // Bytes, as the kernel has it: a slash and a mark behind it are one character.
        let (bytes, slash) = (Array(path.utf8), UInt8(ascii: "/"))
        let parts = bytes.split(separator: slash, omittingEmptySubsequences: false).dropFirst()
        let isFine =
            bytes.first == slash && bytes.count <= 1024 && !parts.isEmpty
            && parts.allSatisfy { part in
                !part.isEmpty && part != [UInt8(ascii: ".")] && part != [UInt8(ascii: "."), UInt8(ascii: ".")]
                    && part.count <= BundleLimits.component
            }
            // Whoever takes it apart by characters finds the same parts.
            && path.count { $0 == "/" } == parts.count
            && path.unicodeScalars.allSatisfy { $0.value >= 32 && !(127...159).contains($0.value) }
        guard isFine else { throw FleetError(.malformed, "\(Names.quote(path)) is no path that a bundle may have") }
    }

    /// The same of all, in the order of their bytes, each once, and none below another.
    static func check(_ paths: [String]) throws(FleetError) {
        var before: String?
        let all = Set(paths)
        for path in paths {
            try check(path)
            if let before, !precedes(before, path) {
                throw FleetError(.malformed, "\(Names.quote(path)) is not in its place among the bundle's paths")
            }
            before = path
            var above = FileSystem.parent(of: path)
            while above != "/" {
                guard !all.contains(above) else {
                    throw FleetError(.malformed, "\(Names.quote(above)) is a file and a directory in the bundle")
                }
                above = FileSystem.parent(of: above)
            }
        }
    }

    public static func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
}

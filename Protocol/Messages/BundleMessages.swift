public import FleetSystem

extension Method {
    /// Asks whether a node's configuration is wanted, and says which one it has.
    public static let offerBundle = "bundle.offer"
    /// The bytes of one follow; `StreamDigest` ends them.
    public static let sendBundle = "bundle.send"
}

public struct BundleOffer: Codable, Sendable {
    /// SHA-256 of the whole bundle, lower-case hexadecimal; nil: it only asks, and has not looked at the node yet.
    public var digest: String?
    /// Why the configuration could not be collected, or sent.
    public var problem: FleetError?
    public init(digest: String? = nil, problem: FleetError? = nil) {
        self.digest = digest
        self.problem = problem
    }
}

public struct BundleAnswer: Codable, Sendable, Equatable {
    /// false: the cluster's configuration is not kept, and nothing of it is to be sent.
    public var isOn: Bool
    /// The one that was offered is not here.
    public var isWanted: Bool
    public init(isOn: Bool, isWanted: Bool) {
        self.isOn = isOn
        self.isWanted = isWanted
    }
}

/// A node's configuration as a snapshot refers to it.
public struct NodeBundle: Codable, Sendable, Equatable {
    public var node: String
    /// Its name in the store, which says nothing of what is in it.
    public var bundle: String
    /// When it came, and when the node had it last, by the coordinator's clock.
    public var collected: Timestamp
    public var confirmed: Timestamp
    public var files: Int
    public var bytes: Int
    /// Certificates, keys and what decrypts that could not be kept; nil: none.
    public var leftOut: Int?
    /// An encryption-at-rest configuration is among it; nil where it came before that was looked at.
    public var decrypts: Bool?
    /// What that offers, see `BundleManifest.encryptionKeys`.
    public var encryptionKeys: [String]?

    public init(
        node: String, bundle: String, collected: Timestamp, confirmed: Timestamp, files: Int, bytes: Int,
        leftOut: Int? = nil, decrypts: Bool? = nil, encryptionKeys: [String]? = nil
    ) {
        self.node = node
        self.bundle = bundle
        self.collected = collected
        self.confirmed = confirmed
        self.files = files
        self.bytes = bytes
        self.leftOut = leftOut
        self.decrypts = decrypts
        self.encryptionKeys = encryptionKeys
    }
}

/// What the coordinator has of a node's configuration now.
public struct BundleState: Codable, Sendable, Equatable {
    /// nil: none has come yet.
    public var confirmed: Timestamp?
    /// Why a newer one did not come.
    public var problem: FleetError?
    /// Certificates, keys and what decrypts that are not in it.
    public var leftOut: Int?
    /// An encryption-at-rest configuration is in it; nil where that is not known.
    public var decrypts: Bool?
    /// What that offers, see `BundleManifest.encryptionKeys`.
    public var encryptionKeys: [String]?
    public init(
        confirmed: Timestamp?, problem: FleetError?, leftOut: Int? = nil, decrypts: Bool? = nil,
        encryptionKeys: [String]? = nil
    ) {
        self.confirmed = confirmed
        self.problem = problem
        self.leftOut = leftOut
        self.decrypts = decrypts
        self.encryptionKeys = encryptionKeys
    }
}

extension ControlMethod {
    public static let showBundle = "bundle.show"
    public static let exportBundle = "bundle.export"
    public static let switchBundles = "bundle.switch"
}

public struct BundleRequest: Codable, Sendable {
    /// A snapshot's id or a unique beginning of it.
    public var snapshot: String
    /// nil: of all nodes.
    public var node: String?
    public init(snapshot: String, node: String? = nil) {
        self.snapshot = snapshot
        self.node = node
    }
}

/// Of `bundle.show`. An export is asked for node by node, and answered with the bundle's bytes.
public struct BundleReply: Codable, Sendable {
    public struct Node: Codable, Sendable {
        public var reference: NodeBundle
        /// nil where it can't be read, and `problem` says why.
        public var manifest: BundleManifest?
        public var problem: FleetError?
        public init(reference: NodeBundle, manifest: BundleManifest?, problem: FleetError? = nil) {
            self.reference = reference
            self.manifest = manifest
            self.problem = problem
        }
    }
    public var snapshot: String
    public var cluster: String
    public var savedAt: Timestamp
    public var nodes: [Node]
    /// Whether the cluster's configuration is kept now.
    public var isOn: Bool
    /// Of all nodes, whichever was asked for; nil where nothing is encrypted, or that is not known.
    public var decryption: Decryption?
    /// kube-apiserver keeps something in the snapshot; nil where that is not known.
    public var holdsKubernetes: Bool?

    public init(snapshot: String, cluster: String, savedAt: Timestamp, nodes: [Node], isOn: Bool) {
        self.snapshot = snapshot
        self.cluster = cluster
        self.savedAt = savedAt
        self.nodes = nodes
        self.isOn = isOn
    }
}

public struct BundleSwitch: Codable, Sendable {
    public var cluster: String
    public var isOn: Bool
    public init(cluster: String, isOn: Bool) {
        self.cluster = cluster
        self.isOn = isOn
    }
}

public struct BundleSwitchReply: Codable, Sendable {
    public var cluster: String
    public var isOn: Bool
    /// Snapshots that have a configuration with them, which stays for as long as they do.
    public var snapshots: Int
    public init(cluster: String, isOn: Bool, snapshots: Int) {
        self.cluster = cluster
        self.isOn = isOn
        self.snapshots = snapshots
    }
}

public import FleetSystem

/// Who starts etcd and how, which decides how it is stopped, switched and started again.
public enum Topology: String, Codable, Sendable {
    /// A static pod of kubeadm on a control plane, with kube-apiserver, controller-manager and scheduler beside it.
    case stacked
    /// A systemd unit.
    case externalSystemd = "external-systemd"
    /// A static pod of a kubelet that runs no control plane (kubeadm's external etcd guide).
    case externalStaticPod = "external-static-pod"
}

/// What a member is to the others, as it says itself.
public enum MemberPart: String, Codable, Sendable {
    case leader, follower
    /// A follower whose data is not as new as what is decided already.
    case behind
    /// It has no vote, and may have half of the data.
    case learner
    /// It knows no leader.
    case leaderless
}

/// What an agent knows of the etcd beside it, each value with the place it came from.
public struct EtcdInstance: Codable, Sendable, Equatable {
    public var topology: Topology
    /// etcd's member name (`--name`).
    public var name: String
    /// The data directory as the host sees it; for a static pod the hostPath, not the path inside the container.
    public var dataDir: String
    /// A separate WAL directory as the host sees it; nil when the WAL lies below `dataDir`.
    public var walDir: String?
    /// One client URL that this node can reach, "https://127.0.0.1:2379".
    public var endpoint: String
    /// `--trusted-ca-file`, `--cert-file` and `--key-file` on the host, under etcdctl's names; nil without TLS.
    public var cacert: String?
    public var cert: String?
    public var key: String?
    /// `--initial-advertise-peer-urls`.
    public var peerURLs: [String]
    /// `--initial-cluster` as etcd reads it, "name=url,name=url".
    public var initialCluster: String
    public var initialClusterToken: String?
    /// "3.5.1"; nil when etcd does not run and no binary told.
    public var version: String?
    /// The process id of the running etcd, nil when it does not run or is looked at offline.
    public var pid: Int32?
    /// The static pod's manifest, for the two topologies that have one.
    public var manifest: String?
    /// The systemd unit's name, for `external-systemd`.
    public var unit: String?
    /// field name -> "file:line (how)", for instance "/etc/default/etcd:3 (ETCD_DATA_DIR)".
    public var sources: [String: String]
    /// nil where etcd does not answer, or the agent is of a version that did not ask.
    public var part: MemberPart?
    /// Why a restore on this node would be refused as it is laid out now; nil where nothing is known against it.
    public var restoreProblem: FleetError?

    public init(
        topology: Topology, name: String, dataDir: String, walDir: String? = nil, endpoint: String,
        cacert: String? = nil,
        cert: String? = nil, key: String? = nil, peerURLs: [String], initialCluster: String,
        initialClusterToken: String? = nil, version: String? = nil, pid: Int32? = nil, manifest: String? = nil,
        unit: String? = nil, sources: [String: String]
    ) {
        self.topology = topology
        self.name = name
        self.dataDir = dataDir
        self.walDir = walDir
        self.endpoint = endpoint
        self.cacert = cacert
        self.cert = cert
        self.key = key
        self.peerURLs = peerURLs
        self.initialCluster = initialCluster
        self.initialClusterToken = initialClusterToken
        self.version = version
        self.pid = pid
        self.manifest = manifest
        self.unit = unit
        self.sources = sources
    }

    private enum CodingKeys: String, CodingKey {
        case topology, name, dataDir, walDir, endpoint, cacert, cert, key, peerURLs, initialCluster, initialClusterToken
        case version, pid, manifest, unit, sources, restoreProblem, part
    }

    // Scripts read this object: a value that is not there is null, not missing.
    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(topology, forKey: .topology)
        try fields.encode(name, forKey: .name)
        try fields.encode(dataDir, forKey: .dataDir)
        try fields.encode(walDir, forKey: .walDir)
        try fields.encode(endpoint, forKey: .endpoint)
        try fields.encode(cacert, forKey: .cacert)
        try fields.encode(cert, forKey: .cert)
        try fields.encode(key, forKey: .key)
        try fields.encode(peerURLs, forKey: .peerURLs)
        try fields.encode(initialCluster, forKey: .initialCluster)
        try fields.encode(initialClusterToken, forKey: .initialClusterToken)
        try fields.encode(version, forKey: .version)
        try fields.encode(pid, forKey: .pid)
        try fields.encode(manifest, forKey: .manifest)
        try fields.encode(unit, forKey: .unit)
        try fields.encode(sources, forKey: .sources)
        try fields.encode(restoreProblem, forKey: .restoreProblem)
        try fields.encode(part, forKey: .part)
    }
}

public import FleetSystem

/// What discovery can't find, finds twice or can't follow: each is said by name, nothing is ever guessed.
extension FleetError.Code {
    /// No static pod, no systemd unit starts an etcd here.
    public static let noEtcd: Self = "no-etcd"
    /// The same, on a control plane whose apiserver goes to an etcd on other hosts.
    public static let etcdElsewhere: Self = "etcd-elsewhere"
    /// More than one does, and nothing tells which one is meant.
    public static let severalEtcds: Self = "several-etcds"
    /// A container gives etcd's flags as `args:` without a `command:`: what runs is the image's business.
    public static let manifestArgs: Self = "manifest-args"
    /// A path inside the container that no hostPath volume brings in.
    public static let missingHostPath: Self = "missing-host-path"
    /// One setting, two values in one place.
    public static let settingTwice: Self = "setting-twice"
    /// A value depends on something that is known only when etcd is started.
    public static let settingUnresolved: Self = "setting-unresolved"
    /// etcd runs with one value and its files say another: a restart would bring a surprise.
    public static let filesAndProcessDiffer: Self = "files-and-process-differ"
    public static let missingCertificate: Self = "missing-certificate"
    public static let unreadableManifest: Self = "unreadable-manifest"
    public static let unreadableConfiguration: Self = "unreadable-configuration"
    /// A systemd unit that starts etcd in a way that can't be followed with certainty.
    public static let unsupportedUnit: Self = "unsupported-unit"
}

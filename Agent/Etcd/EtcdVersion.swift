/// "3.5.1". Suffixes ("3.6.0-rc.1") are kept for people and not compared.
public struct EtcdVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var major: Int
    public var minor: Int
    public var patch: Int
    public var description: String { "\(major).\(minor).\(patch)" }

    public init(_ major: Int, _ minor: Int, _ patch: Int) {
        (self.major, self.minor, self.patch) = (major, minor, patch)
    }

    /// Also "v3.5.1", "3.5" (patch 0), "3.6.0-rc.1".
    public init?(_ text: some StringProtocol) {
        let plain = (text.hasPrefix("v") ? text.dropFirst() : text[...]).prefix { $0.isNumber || $0 == "." }
        let parts = plain.split(separator: ".").compactMap { Int($0) }
        guard parts.count == 2 || parts.count == 3 else { return nil }
        self.init(parts[0], parts[1], parts.count == 3 ? parts[2] : 0)
    }

    /// In what `etcd --version`, `etcdctl version` and `etcdutl version` print: "etcd Version: 3.5.1",
    /// "etcdctl version: 3.5.1".
    static func find(in output: String) -> EtcdVersion? {
        for line in output.split(whereSeparator: \.isNewline) {
            let lower = line.lowercased()
            for prefix in ["etcd version: ", "etcdctl version: ", "etcdutl version: "] where lower.hasPrefix(prefix) {
                return EtcdVersion(line.dropFirst(prefix.count))
            }
        }
        return nil
    }

    public static func < (a: Self, b: Self) -> Bool { (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch) }

    /// `snapshot restore` has --bump-revision and --mark-compacted.
    var bumpsRevisions: Bool {
        switch (major, minor) {
        case (3, 4): patch >= 27
        case (3, 5): patch >= 10
        default: (major, minor) >= (3, 6)
        }
    }

    /// HashKV at the very revision that was compacted last, which is where a bumped etcd begins.
    var hashesCompacted: Bool { bumpsRevisions }

    /// Members that are not voters yet.
    var hasLearners: Bool { (major, minor) >= (3, 4) }

    /// Same minor or newer: the rule for a tool that restores a snapshot.
    func isSameMinorOrNewer(than other: EtcdVersion) -> Bool {
        (major, minor) >= (other.major, other.minor)
    }
}

private import CLinux

/// The version of all three programs; they are built and released as one.
public enum FleetVersion {
    public static let current = "0.1.0"

    /// The commit that ops/build or ops/package built this of, "1f2e3d4c"; with "-dirty" where the tree had changes beside it.
    /// nil where it was built in another way. Versions are compared without it.
    public static let commit: String? = {
        var bytes = [CChar](repeating: 0, count: 64)
        let count = fleet_commit(&bytes, Int32(bytes.count))
        let text = String(decoding: bytes.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.split(separator: " ").first.map(String.init)
    }()
}

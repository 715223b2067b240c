import FleetCrypto
public import FleetSystem

/// What belongs to snapshots and is not in them: bytes of the owner's, one sealed file for one content. Which snapshots it
/// belongs to the owner writes into their payloads, and removes what no payload names. See FORMAT.md.
extension Repository {
    public static let bundleLimit = 32 << 20

    private static let record = "bundle"
    private var bundleDirectory: String { "\(core.root)/bundles" }
    public func bundlePath(_ name: String) -> String { "\(bundleDirectory)/\(name)" }

    /// The name of content with that SHA-256. Keyed, so that it tells nobody without a data key what is in it; of the first
    /// one, so that it stays the same behind a rotation.
    public func bundleName(sha256: [UInt8]) -> String {
        let key = core.keys.first.derive("fleet repository bundles")
        return HMACSHA256.code(of: sha256, key: key.bytes).prefix(16).hex
    }

    /// Durable when it returns, and kept once. One that is there and can't be read is replaced.
    public func addBundle(_ bytes: [UInt8]) throws(FleetError) -> String {
        guard bytes.count <= Self.bundleLimit else {
            throw FleetError(.malformed, "\(bytes.count) bytes are more than a bundle takes")
        }
        let name = bundleName(sha256: SHA256.hash(bytes))
        do throws(FleetError) {
            _ = try bundle(name)
            return name
        } catch { guard error.code == .notFound || error.code == .snapshotDamaged else { throw error } }
        try core.files.makeDirectories(bundleDirectory)
        let file = SealedFile(.bundle, core.keys)
        try core.files.writeDurably(
            bundlePath(name), file.header + file.seal(try core.zstd.pack(bytes, level: 3), Self.record + " of " + name))
        return name
    }

    /// By name.
    public func bundles() throws(FleetError) -> [(name: String, size: Int64)] {
        var found: [(name: String, size: Int64)] = []
        do throws(FleetError) {
            for name in try core.files.list(bundleDirectory) {
                if let size = try core.files.size(bundlePath(name)) { found.append((name, size)) }
            }
        } catch { guard error.code == .notFound else { throw error } }
        return found
    }

    /// Whether there is a file of it, whatever is in it.
    public func hasBundle(_ name: String) throws(FleetError) -> Bool {
        try Self.check(name)
        return try core.files.size(bundlePath(name)) != nil
    }

    /// - Throws: `not-found`; `snapshot-damaged` where it is not, byte for byte, what was added.
    public func bundle(_ name: String) throws(FleetError) -> [UInt8] {
        try Self.check(name)
        guard let size = try core.files.size(bundlePath(name)) else {
            throw FleetError(.notFound, "bundle \(name) is not in the store")
        }
        guard size > SealedFile.headerLength + SealedFile.overhead, size <= Self.bundleLimit * 2 else {
            throw damaged("bundle \(name) has \(size) bytes")
        }
        let bytes = try core.files.read(bundlePath(name), limit: Self.bundleLimit * 2)
        let file = try SealedFile(.bundle, header: bytes.prefix(SealedFile.headerLength), core.keys)
        let packed = try file.open(bytes.dropFirst(SealedFile.headerLength), Self.record + " of " + name)
        let content = try core.zstd.unpack(packed, limit: Self.bundleLimit)
        guard bundleName(sha256: SHA256.hash(content)) == name else {
            throw damaged("what is in bundle \(name) is another's")
        }
        return content
    }

    /// What is not there is fine. Whoever refers to it has to be gone before.
    public func removeBundle(_ name: String) throws(FleetError) {
        // Not `check`: what a crash left in the middle of a write begins with a dot.
        guard !name.contains("/"), name != ".", name != ".." else {
            throw FleetError(.malformed, "\(name.debugDescription) can't be the name of a bundle")
        }
        try core.files.remove(bundlePath(name))
    }
}

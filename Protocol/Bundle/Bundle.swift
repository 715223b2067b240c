internal import FleetCrypto
public import FleetSystem

/// The configuration of a node that its etcd's data alone does not bring back. The same content is always the same bytes:
///
///     "FLTCONF1"   length of the table of contents (u32, big-endian)   the table (JSON, keys sorted)   the files' bytes
///
/// one after the other in the table's order. When it was collected is not in it.
public struct Bundle: Sendable, Equatable {
    static let magic = Array("FLTCONF1".utf8)
    static let headLength = 12

    public let manifest: BundleManifest
    /// Each file's bytes, in the order of the manifest.
    public let contents: [[UInt8]]

    /// - Throws: `malformed` for what is no bundle.
    public init(_ manifest: BundleManifest, contents: [[UInt8]]) throws(FleetError) {
        try manifest.check()
        guard contents.count == manifest.files.count else {
            throw FleetError(.malformed, "the bundle has \(contents.count) of \(manifest.files.count) files")
        }
        for (file, bytes) in zip(manifest.files, contents) {
            guard bytes.count == file.size, SHA256.hash(bytes).hex == file.sha256 else {
                throw FleetError(.malformed, "\(Names.quote(file.path)) of the bundle is not what it is said to be")
            }
        }
        (self.manifest, self.contents) = (manifest, contents)
    }

    /// The table for whoever may not have the files: of a short secret a digest is as good as the secret to whoever can guess.
    public var forViewers: BundleManifest {
        var manifest = manifest
        for (index, bytes) in contents.enumerated() where !Self.isCertificates(bytes) {
            manifest.files[index].sha256 = ""
        }
        return manifest
    }

    /// Certificates, and nothing before, between or behind them.
    private static func isCertificates(_ bytes: [UInt8]) -> Bool {
        var (isInside, count) = (false, 0)
        for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
            switch (String(line), isInside) {
            case ("-----BEGIN CERTIFICATE-----", false): isInside = true
            case ("-----END CERTIFICATE-----", true):
                isInside = false
                count += 1
            case (_, true) where line.utf8.count <= 76 && !line.contains("-"): break
            default: return false
            }
        }
        return count > 0 && !isInside
    }

    public var isEmpty: Bool { manifest.files.isEmpty }

    public func encoded() throws(FleetError) -> [UInt8] {
        let table = try JSON.encode(manifest)
        var bytes = Self.magic
        withUnsafeBytes(of: UInt32(table.count).bigEndian) { bytes += $0 }
        bytes += table
        for content in contents { bytes += content }
        return bytes
    }

    /// - Throws: `malformed`, whatever somebody has put there.
    public static func decode(_ bytes: [UInt8]) throws(FleetError) -> Bundle {
        guard bytes.count >= headLength, bytes.starts(with: magic) else {
            throw FleetError(.malformed, "\(bytes.count) bytes that are no bundle")
        }
        let length = bytes[magic.count..<headLength].reduce(0) { $0 << 8 | Int($1) }
        guard length <= BundleLimits.manifest, length <= bytes.count - headLength else {
            throw FleetError(.malformed, "the bundle's table of contents is cut, or longer than can be")
        }
        let table = bytes[headLength..<headLength + length]
        let manifest = try JSON.decode(BundleManifest.self, from: table)
        // Before any length of it is used.
        try manifest.check()
        var (contents, position): ([[UInt8]], Int) = ([], headLength + length)
        for file in manifest.files {
            guard file.size <= bytes.count - position else { throw FleetError(.malformed, "the bundle is cut") }
            contents.append(Array(bytes[position..<position + file.size]))
            position += file.size
        }
        guard position == bytes.count else {
            throw FleetError(.malformed, "the bundle has \(bytes.count - position) bytes too many")
        }
        return try Bundle(manifest, contents: contents)
    }
}

extension StreamDigest {
    public init(of bytes: [UInt8]) { self.init(length: Int64(bytes.count), sha256: SHA256.hash(bytes).hex) }
}

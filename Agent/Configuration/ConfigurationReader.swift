internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// Reads what a plan names, within the limits of a bundle. What can't be taken is named with the reason, and keeps nothing
/// else from being taken.
///
/// The agent reads as root what others may have a hand in. So every file is opened without following a link, is a regular
/// one, and lies below directories in which nobody but root, or the file's own owner, could have put another in its place. The
/// same is asked of the directories that hold the links on the way to it: whoever owns a directory can't have a file of
/// somebody else's sent.
struct ConfigurationReader {
    private let files: NodeFiles
    private(set) var found: [(file: BundleManifest.File, bytes: [UInt8])] = []
    private var links: [BundleManifest.Link] = []
    private var leftOut: [BundleManifest.LeftOut] = []
    private var moreLeftOut = 0
    /// Of certificates, keys and what decrypts: without those a control plane does not come back.
    private var essentialLeftOut: Set<String> = []
    /// Of files that were read and not taken: when they end is of interest all the same.
    private var unkept: [CertificateExpiry] = []
    private var total = 0
    private var seen: Set<String> = []
    private var missing: Set<String> = []
    /// Names that are looked at, whatever comes of them: a directory may have any number.
    private static let limit = 5000
    private static let essential: Set<ConfigurationSource.Kind> = [.pki, .encryption, .etcd]

    init(_ plan: ConfigurationPlan, _ files: NodeFiles) {
        self.files = files
        for one in plan.unreachable { leaveOut(one.path, one.reason, one.kind) }
        for source in plan.sources { visit(source.path, source, depth: source.depth, through: []) }
    }

    /// The same for the same content, in whatever order it was read.
    func bundle() throws(FleetError) -> Bundle {
        let sorted = found.sorted { BundlePath.precedes($0.file.path, $1.file.path) }
        // One way to a file may be trusted where another is not.
        let taken = Set(sorted.map(\.file.path))
        let missed = essentialLeftOut.subtracting(taken).count
        let manifest = BundleManifest(
            files: sorted.map(\.file), links: links.sorted { BundlePath.precedes($0.path, $1.path) },
            leftOut: leftOut.filter { !taken.contains($0.path) }.sorted { BundlePath.precedes($0.path, $1.path) },
            moreLeftOut: moreLeftOut, essentialLeftOut: missed == 0 ? nil : missed)
        return try Bundle(manifest, contents: sorted.map(\.bytes))
    }

    /// Of all that was read, kept or not. The one that the kubelet once signed for itself serves nobody where it has one
    /// that the cluster signed.
    var certificates: [CertificateExpiry] {
        let serving = CertificateExpiry.kubeletServing
        let isServedBySigned = seen.contains(serving) && !missing.contains(serving)
        let taken = Set(found.map(\.file.path))
        return (found.flatMap { $0.file.certificates ?? [] } + unkept.filter { !taken.contains($0.path) })
            .filter { !isServedBySigned || $0.path != CertificateExpiry.kubeletSelfSigned }
            .sorted { ($0.path, $0.notAfter) < ($1.path, $1.notAfter) }
    }

    /// - Parameter links: those that were followed to it, each where it really is.
    private mutating func visit(
        _ path: String, _ source: ConfigurationSource, depth: Int, through links: [String], isLinked: Bool = false
    ) {
        do throws(FleetError) {
            // Links above it are the node's own layout; it is known by where it really is.
            let above = try files.follow(FileSystem.parent(of: path))
            let place = normalised(FileSystem.name(of: path), in: above.path)
            let links = links + above.links
            guard seen.insert(place).inserted else { return }
            guard seen.count <= Self.limit else {
                return leaveOut(place, "there are more names than are looked at", source.kind)
            }
            try BundlePath.check(place)
            guard let status = try FileSystem.status(files.onDisk(place), following: false) else {
                // What was listed a moment ago may have a name that is no UTF-8.
                missing.insert(place)
                // A program that runs has no file by a name that only its flags have; where a link leads nowhere, one is gone.
                if isLinked || path != source.path {
                    leaveOut(place, "it does not exist", source.kind)
                } else if source.isNamed {
                    leaveOut(place, "it does not exist", nil)
                }
                return
            }
            if place != path { try note(link: path, to: place) }
            switch status.kind {
            case .file: try take(place, source.kind, links)
            case .directory:
                // A tree goes as deep as it was planned, and a link never adds to that.
                guard depth > 0, !isLinked || path == source.path else {
                    // A way that is none does not bar another.
                    seen.remove(place)
                    return leaveOut(place, "it is a directory", source.kind)
                }
                for name in try FileSystem.list(files.onDisk(place)) {
                    // The kubelet passes over these.
                    if source.kind == .manifest, name.hasPrefix(".") { continue }
                    visit(place + "/" + name, source, depth: depth - 1, through: links)
                }
            case .symbolicLink:
                try note(link: place, to: try FileSystem.readLink(files.onDisk(place)))
                let (target, more) = try files.follow(place)
                var rest = source
                // Where it is the source itself that is a link, what it leads to is that.
                if path == source.path { rest.path = target }
                visit(target, rest, depth: depth, through: links + more, isLinked: true)
            case .other: leaveOut(place, "it is no regular file", source.kind)
            }
        } catch { leaveOut(path, error.message, source.kind) }
    }

    private mutating func note(link path: String, to target: String) throws(FleetError) {
        try BundlePath.check(path)
        guard links.count < BundleLimits.links, !links.contains(where: { $0.path == path }) else { return }
        links.append(.init(path: path, target: String(target.prefix(1024))))
    }

    private mutating func take(
        _ path: String, _ kind: ConfigurationSource.Kind, _ links: [String]
    ) throws(FleetError) {
        let (bytes, status) = try FileSystem.readPlain(files.onDisk(path), limit: BundleLimits.file)
        guard let bytes else { return leaveOut(path, "it is larger than \(BundleLimits.file) bytes", kind) }
        let look = ConfigurationContent(bytes, path: path)
        if let reason = try obstacle(path, bytes.count, status, links) {
            unkept += look.certificates
            if !links.isEmpty { seen.remove(path) }
            return leaveOut(path, reason, kind)
        }
        total += bytes.count
        found.append(
            (
                BundleManifest.File(
                    path: path, kind: kind.rawValue, size: bytes.count, sha256: SHA256.hash(bytes).hex,
                    mode: status.mode, owner: status.owner, group: status.group, modified: status.modified,
                    holdsSecret: look.holdsSecret || kind == .encryption,
                    certificates: look.certificates.isEmpty ? nil : look.certificates,
                    encryptionKeys: look.encryptionKeys), bytes
            ))
    }

    /// Why it is not taken.
    private func obstacle(
        _ path: String, _ size: Int, _ status: FileSystem.Status, _ links: [String]
    ) throws(FleetError) -> String? {
        for place in [path] + links {
            guard let other = try untrusted(place, status) else { continue }
            let what = place == path ? "it" : "a link to it"
            return "\(other) is not root's alone, so that somebody may have put \(what) there"
        }
        if found.count >= BundleLimits.files { return "there are more files than a bundle takes" }
        if total + size > BundleLimits.total {
            return "all files together are larger than \(BundleLimits.total) bytes"
        }
        return nil
    }

    /// The directory above it in which somebody could have put something that is not theirs.
    private func untrusted(_ path: String, _ file: FileSystem.Status) throws(FleetError) -> String? {
        var directory = path
        repeat {
            directory = FileSystem.parent(of: directory)
            if directory == "/", !files.isLive { return nil }
            guard let status = try FileSystem.status(files.onDisk(directory), following: false) else {
                return directory
            }
            let isOwners = status.owner == 0 || status.owner == file.owner
            let isGroups = status.mode & 0o020 != 0 && status.group != 0 && status.group != file.group
            guard status.kind == .directory, isOwners, !isGroups, status.mode & 0o002 == 0 else { return directory }
        } while directory != "/"
        return nil
    }

    /// - Parameter kind: nil where nothing is missed.
    private mutating func leaveOut(_ path: String, _ reason: String, _ kind: ConfigurationSource.Kind?) {
        if let kind, Self.essential.contains(kind) { essentialLeftOut.insert(path) }
        guard leftOut.count < BundleLimits.leftOut else {
            moreLeftOut += 1
            return
        }
        leftOut.append(.init(path: String(path.prefix(1024)), reason: String(reason.prefix(300))))
    }
}

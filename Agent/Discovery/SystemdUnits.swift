internal import FleetSystem
private import Glibc

/// The unit files of a node, found as systemd finds them: a directory of higher priority hides the same name in a
/// lower one, and drop-ins of all of them are merged in the order of their names.
struct SystemdUnits: Sendable {
    /// systemd.unit(5), "System Unit Search Path", without the generators' that only a running systemd fills.
    static let searchPath = [
        "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/etc/systemd/system",
        "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    ]

    let files: NodeFiles

    /// A unit by its real name; nil where there is none or it is masked.
    func load(_ name: String) throws(FleetError) -> SystemdUnit? {
        guard let fragment = try fragment(name) else { return nil }
        var parts = [UnitFile(try files.read(fragment), path: fragment)]
        for path in try dropIns(name) { parts.append(UnitFile(try files.read(path), path: path)) }
        return SystemdUnit(
            name: name, fragment: fragment, parts: parts, files: files,
            specifiers: UnitSpecifiers(
                unit: name, fragment: fragment, hostName: try hostName(), machineID: try firstLine("/etc/machine-id")))
    }

    /// Services whose files speak of etcd, without aliases and masked ones, sorted.
    func namesMentioningEtcd() throws(FleetError) -> [String] {
        var names: Set<String> = []
        for directory in Self.searchPath {
            for name in try files.list(directory) {
                if name.hasSuffix(".service"), !name.hasSuffix("@.service") { names.insert(name) }
                // An instance of a template exists through the link that enables it.
                if name.hasSuffix(".wants") || name.hasSuffix(".requires") {
                    names.formUnion(try files.list(directory + "/" + name).filter { $0.hasSuffix(".service") })
                }
            }
        }
        var result: [String] = []
        for name in names.sorted() {
            guard let fragment = try fragment(name), try !isAlias(name, fragment) else { continue }
            for path in [fragment] + (try dropIns(name)) where try mentionsEtcd(path) {
                result.append(name)
                break
            }
        }
        return result
    }

    /// Some target wants or requires it.
    func isEnabled(_ name: String) throws(FleetError) -> Bool {
        for directory in Self.searchPath {
            for entry in try files.list(directory) where entry.hasSuffix(".wants") || entry.hasSuffix(".requires") {
                if try files.list(directory + "/" + entry).contains(name) { return true }
            }
        }
        return false
    }

    /// The file that defines it: its own, or its template's.
    private func fragment(_ name: String) throws(FleetError) -> String? {
        var candidates = [name]
        if let at = name.firstIndex(of: "@") { candidates.append(name[...at] + ".service") }
        for candidate in candidates {
            for directory in Self.searchPath {
                let path = directory + "/" + candidate
                guard let status = try files.status(path) else { continue }
                // A link to /dev/null, or an empty file, masks the unit.
                return status.kind == .file && status.size > 0 ? path : nil
            }
        }
        return nil
    }

    /// `Alias=` makes a link under another name.
    private func isAlias(_ name: String, _ fragment: String) throws(FleetError) -> Bool {
        let target = FileSystem.name(of: try files.resolve(fragment))
        let template = name.firstIndex(of: "@").map { name[...$0] + ".service" }
        return target != name && target != template.map(String.init)
    }

    private func dropIns(_ name: String) throws(FleetError) -> [String] {
        var directories = [name + ".d", "service.d"]
        if let at = name.firstIndex(of: "@") { directories.append(name[...at] + ".service.d") }
        var chosen: [String: String] = [:]
        for directory in Self.searchPath {
            for suffix in directories {
                for file in try files.list("\(directory)/\(suffix)") where file.hasSuffix(".conf") {
                    if chosen[file] == nil { chosen[file] = "\(directory)/\(suffix)/\(file)" }
                }
            }
        }
        var result: [String] = []
        for (_, path) in chosen.sorted(by: { $0.key < $1.key }) where try isReadableFile(path) { result.append(path) }
        return result
    }

    /// A planned file of the overlay has no status on disk, and a link to /dev/null is no file.
    private func isReadableFile(_ path: String) throws(FleetError) -> Bool {
        if let status = try files.status(path) { return status.kind == .file }
        return try files.exists(path)
    }

    private func mentionsEtcd(_ path: String) throws(FleetError) -> Bool {
        String(decoding: try files.read(path), as: UTF8.self).contains("etcd")
    }

    private func hostName() throws(FleetError) -> String {
        guard files.isLive else { return try firstLine("/etc/hostname") }
        var buffer = utsname()
        uname(&buffer)
        return withUnsafeBytes(of: &buffer.nodename) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private func firstLine(_ path: String) throws(FleetError) -> String {
        guard try files.exists(path) else { return "" }
        let lines = String(decoding: try files.read(path), as: UTF8.self).split(whereSeparator: \.isNewline)
        return lines.first { !$0.hasPrefix("#") }.map(String.init) ?? ""
    }
}

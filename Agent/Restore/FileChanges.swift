internal import FleetProtocol
internal import FleetSystem
internal import FleetYAML

/// Collects what a restore changes in files: every value where it is really set, and in every file only the bytes of
/// the value.
struct FileChanges {
    private let found: DiscoveredEtcd
    private var edits: [String: [(range: Range<Int>, text: [UInt8])]] = [:]
    private var dropIn = UnitDropIn()

    init(_ found: DiscoveredEtcd) { self.found = found }

    /// - Parameter flag: the option that is set, "data-dir".
    /// - Parameter value: as etcd sees it; for a static pod the volume's new path on the host.
    /// - Throws: `not-editable`.
    mutating func set(_ flag: String, _ origin: Setting.Origin, to value: String) throws(FleetError) {
        switch origin.kind {
        case .hostPath, .configKey: try setScalar(origin, value)
        case .builtIn where found.settings.configFile != nil: try appendConfigKey(flag, value)
        case .builtIn, .environment, .flag:
            if case .staticPod(let pod) = found.launch.kind { return try setInPod(pod, flag, origin, value) }
            try setInUnit(flag, origin, value)
        }
    }

    /// A flag of a container: its own bytes where it is given, else a line of its own below another flag's.
    private mutating func setInPod(
        _ pod: StaticPod, _ flag: String, _ origin: Setting.Origin, _ value: String
    ) throws(FleetError) {
        guard value.utf8.allSatisfy({ UnitDropIn.isPlain(String(UnicodeScalar($0))) || $0 == UInt8(ascii: "=") }) else {
            throw refused(origin, flag, "the new value would need quotes")
        }
        if origin.kind != .builtIn {
            guard let range = origin.range, origin.file == pod.manifest else {
                throw refused(origin, flag, "it is put together of parts")
            }
            return edits[pod.manifest, default: []].append((range, Array(value.utf8)))
        }
        let bytes = try found.files.read(pod.manifest)
        for word in pod.command.reversed() where word.hasPrefix("--") {
            guard let range = word.range, let line = Self.item(range, in: bytes) else { continue }
            return edits[pod.manifest, default: []].append(
                (line.end..<line.end, Array("\n\(line.indent)- --\(flag)=\(value)".utf8)))
        }
        throw refused(origin, flag, "no flag of \(pod.manifest) is an item on a line of its own")
    }

    /// The line of a block sequence that holds these bytes and nothing else: what is before its dash, and its end.
    private static func item(_ range: Range<Int>, in bytes: [UInt8]) -> (indent: String, end: Int)? {
        let newline = UInt8(ascii: "\n")
        let start = bytes[..<range.lowerBound].lastIndex(of: newline).map { $0 + 1 } ?? 0
        let end = bytes[range.upperBound...].firstIndex(of: newline) ?? bytes.count
        let indent = bytes[start...].prefix { $0 == UInt8(ascii: " ") }
        guard bytes[(start + indent.count)..<range.lowerBound].elementsEqual("- ".utf8), end == range.upperBound else {
            return nil
        }
        return (String(decoding: indent, as: UTF8.self), end)
    }

    /// The whole files, before and after, in the order of their names.
    func result() throws(FleetError) -> [RestorePlan.FileChange] {
        var changes: [RestorePlan.FileChange] = []
        for (file, edits) in edits {
            let before = try found.files.read(file)
            var after = before
            // From the end on, so that what is still to be changed stays where it was.
            for edit in edits.sorted(by: { $0.range.lowerBound > $1.range.lowerBound }) {
                after.replaceSubrange(edit.range, with: edit.text)
            }
            changes.append(
                .init(
                    path: try found.files.resolve(file), before: try text(before, file), after: try text(after, file)))
        }
        if !dropIn.isEmpty, case .unit(let unit) = found.launch.kind {
            let path = UnitDropIn.path(unit.name)
            let before = try found.files.exists(path) ? try text(try found.files.read(path), path) : nil
            changes.append(.init(path: path, before: before, after: dropIn.text(addedTo: before)))
        }
        return changes.sorted { $0.path < $1.path }
    }

    private mutating func setScalar(_ origin: Setting.Origin, _ value: String) throws(FleetError) {
        let file = origin.file!
        let bytes = try found.files.read(file)
        for document in try YAML.documents(bytes, file: file) {
            guard let node = Self.find(document, { $0.range == origin.range }) else { continue }
            let edited = try YAML.replacing(node, with: value, in: bytes, file: file)
            let end = edited.count - (bytes.count - node.range.upperBound)
            edits[file, default: []].append((node.range, Array(edited[node.range.lowerBound..<end])))
            return
        }
        throw refused(origin, "the value", "it is not there any more")
    }

    private mutating func appendConfigKey(_ flag: String, _ value: String) throws(FleetError) {
        let file = try found.launch.hostPath(found.settings.configFile!.value, "--config-file")
        let bytes = try found.files.read(file)
        let newline = bytes.isEmpty || bytes.last == UInt8(ascii: "\n") ? "" : "\n"
        let quoted = value.replacing("'", with: "''")
        edits[file, default: []].append((bytes.count..<bytes.count, Array("\(newline)\(flag): '\(quoted)'\n".utf8)))
    }

    /// A value of a unit: changed in place in a file of the administrator's; overridden by a drop-in where the file is
    /// a package's, which the next update would write anew, or where nothing sets it yet.
    private mutating func setInUnit(_ flag: String, _ origin: Setting.Origin, _ value: String) throws(FleetError) {
        guard case .unit(let unit) = found.launch.kind else { throw refused(origin, flag, "it is in the container") }
        let variable = "ETCD_" + flag.uppercased().replacing("-", with: "_")
        guard let file = origin.file else { return dropIn.setEnvironment(variable, value) }
        let isPart = unit.parts.contains { $0.path == file }
        let isPackaged = ["/usr/lib/", "/lib/", "/usr/share/"].contains { file.hasPrefix($0) }
        if let range = origin.range, !isPackaged {
            // What the old value did not need quotes for, the new one does not either.
            let old = try found.files.read(file)[range]
            guard value.utf8.allSatisfy({ old.contains($0) || UnitDropIn.isPlain(String(UnicodeScalar($0))) }) else {
                throw refused(origin, flag, "the new value would need quotes")
            }
            edits[file, default: []].append((range, Array(value.utf8)))
        } else if isPart, case .environment(let name) = origin.kind {
            dropIn.setEnvironment(name, value)
        } else if isPart, let range = origin.range {
            guard try dropIn.replace(file, range, value, in: unit) else {
                throw refused(origin, flag, "it is neither in Environment= nor in ExecStart=")
            }
        } else {
            throw refused(origin, flag, isPackaged ? "\(file) belongs to a package" : "it is put together of parts")
        }
    }

    private static func find(_ node: YAMLNode, _ isMeant: (YAMLNode) -> Bool) -> YAMLNode? {
        if node.scalar != nil { return isMeant(node) ? node : nil }
        let children = node.items ?? node.pairs?.map(\.value) ?? []
        for child in children {
            if let node = find(child, isMeant) { return node }
        }
        return nil
    }

    private func text(_ bytes: [UInt8], _ file: String) throws(FleetError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw FleetError(.notEditable, "\(file) is not UTF-8", hint: "convert \(file) to UTF-8")
        }
        return text
    }

    private func refused(_ origin: Setting.Origin, _ what: String, _ why: String) -> FleetError {
        FleetError(
            .notEditable, "\(origin): the agent can't change \(what) there: \(why)",
            hint: "set it as one plain value in a file below /etc, restart etcd, then try again")
    }
}

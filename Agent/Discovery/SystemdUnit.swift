internal import FleetSystem
private import Glibc

/// A service with its drop-ins: the command and the environment that systemd starts it with.
struct SystemdUnit: Sendable {
    var name: String
    var fragment: String
    /// The fragment, then the drop-ins in the order in which they apply.
    var parts: [UnitFile]
    var files: NodeFiles
    var specifiers: UnitSpecifiers

    /// All values of a key of `[Service]` that are in force: an empty assignment takes back those before it.
    func values(_ key: String) -> [TracedText] {
        var result: [TracedText] = []
        for directive in parts.flatMap(\.directives) where directive.section == "Service" && directive.key == key {
            if directive.value.isEmpty { result = [] } else { result.append(directive.value) }
        }
        return result
    }

    /// The last value of a key that holds only one.
    func value(_ key: String) -> TracedText? { values(key).last }

    /// What the process finds in its environment: `Environment=` first, then the files, the later over the earlier.
    ///
    /// - Throws: `setting-twice` for a variable of etcd that one file sets twice, `unreadable-configuration` for a file
    ///   that has to be there and is not.
    func environment() throws(FleetError) -> [String: TracedText] {
        var result: [String: TracedText] = [:]
        for line in values("Environment") {
            for word in UnitWords.split(line) {
                let word = try specifiers.expand(word)
                guard let equals = word.firstIndex(of: UInt8(ascii: "=")) else { continue }
                result[word[0..<equals].text] = word[equals + 1..<word.bytes.count]
            }
        }
        for file in try environmentFiles() {
            guard try files.exists(file) else {
                throw FleetError(
                    .unreadableConfiguration, "\(name) needs the environment file \(file), which does not exist",
                    hint: "create \(file), or write `EnvironmentFile=-\(file)` if it may be missing")
            }
            try add(EnvironmentFile.parse(try files.read(file), path: file), file, &result)
        }
        return result
    }

    /// Whether systemd has to be told to read its files again when these have changed: it reads a unit's own parts only then,
    /// the environment files at every start.
    ///
    /// - Parameter changed: without symbolic links: a part may be linked from anywhere (`systemctl link`).
    func needsReload(_ changed: [String]) throws(FleetError) -> Bool {
        var own: Set = [UnitDropIn.path(name)]
        for part in parts { own.insert(try files.resolve(part.path)) }
        return changed.contains(where: own.contains)
    }

    /// The paths of the environment files that are there, or have to be.
    func environmentFiles() throws(FleetError) -> [String] {
        var paths: [String] = []
        for value in values("EnvironmentFile") {
            var path = try specifiers.expand(UnitWords.split(value).first ?? value)
            let optional = path.hasPrefix("-")
            if optional { path = path[1..<path.bytes.count] }
            paths += try matches(path.text) ?? (optional ? [] : [path.text])
        }
        return paths
    }

    /// The words of `ExecStart=` after systemd's own expansion, the executable first.
    ///
    /// - Throws: `unsupported-unit` where there are several or none.
    func command() throws(FleetError) -> [TracedText] {
        let lines = values("ExecStart")
        guard lines.count == 1 else {
            throw FleetError(
                .unsupportedUnit, "\(name) has \(lines.count) ExecStart= lines where etcd needs one",
                hint: "leave one command in \(fragment)")
        }
        return try expand(lines[0], try environment())
    }

    func expand(_ line: TracedText, _ environment: [String: TracedText]) throws(FleetError) -> [TracedText] {
        var line = line
        var expandsVariables = true
        var namesItself = false
        // systemd.service(5): prefixes of the executable, in any order.
        while let first = line.bytes.first?.value, "@-:+!|".utf8.contains(first) {
            if first == UInt8(ascii: ":") { expandsVariables = false }
            if first == UInt8(ascii: "@") { namesItself = true }
            line = line[1..<line.bytes.count]
        }
        var words: [TracedText] = []
        for word in UnitWords.split(line) { words.append(try specifiers.expand(word)) }
        if namesItself, words.count > 1 { words.remove(at: 1) }
        guard expandsVariables, let executable = words.first else { return words }
        return [executable] + words.dropFirst().flatMap { UnitVariables.expand($0, environment) }
    }

    private func add(
        _ variables: [(name: String, value: TracedText)], _ file: String, _ result: inout [String: TracedText]
    ) throws(FleetError) {
        var lines: [String: Int] = [:]
        for (name, value) in variables {
            let line = value.place?.line ?? 0
            if let first = lines.updateValue(line, forKey: name), name.hasPrefix("ETCD_") {
                throw FleetError(
                    .settingTwice, "\(file) sets \(name) twice: at line \(first) and at line \(line)",
                    hint: "remove one of the two lines from \(file)")
            }
            result[name] = value
        }
    }

    /// The files that a pattern in the last component names; nil where there is none.
    private func matches(_ path: String) throws(FleetError) -> [String]? {
        let directory = FileSystem.parent(of: path)
        let pattern = FileSystem.name(of: path)
        guard pattern.contains(where: { "*?[".contains($0) }) else { return try files.exists(path) ? [path] : nil }
        let found = try files.list(directory).filter { fnmatch(pattern, $0, FNM_PERIOD) == 0 }
        return found.isEmpty ? nil : found.map { directory + "/" + $0 }
    }
}

/// Variables in a command line (systemd.service(5), "Command lines"): `${NAME}` anywhere, as one word; `$NAME` only as
/// a word of its own, which is split at blanks and vanishes when empty; `$$` is a dollar.
enum UnitVariables {
    static func expand(_ word: TracedText, _ environment: [String: TracedText]) -> [TracedText] {
        if word.hasPrefix("$"), !word.hasPrefix("$$"), !word.hasPrefix("${") {
            let name = word[1..<word.bytes.count].text
            if !name.isEmpty, name.utf8.allSatisfy(ShellCommand.isNameByte) {
                return environment[name].map(UnitWords.split) ?? []
            }
        }
        var result = TracedText("")
        var index = 0
        while index < word.bytes.count {
            let rest = word[index..<word.bytes.count]
            if rest.hasPrefix("$$") {
                result.bytes.append(
                    .init(value: UInt8(ascii: "$"), place: rest.place.map { .init(file: $0.file, line: $0.line) }))
                index += 2
            } else if rest.hasPrefix("${"), let end = rest.firstIndex(of: UInt8(ascii: "}")) {
                result = result + (environment[rest[2..<end].text] ?? TracedText(""))
                index += end + 1
            } else {
                result.bytes.append(word.bytes[index])
                index += 1
            }
        }
        return [result]
    }
}

internal import FleetSystem
internal import FleetYAML

/// A file of the manifests directory: the pods in it and their containers, before anybody asks which is etcd.
struct PodManifest: Sendable {
    struct Container: Sendable {
        var node: YAMLNode
        var command: [TracedText]
        var arguments: [TracedText]
        var environment: [String: TracedText]

        var executable: String? { command.first.map { FileSystem.name(of: $0.text) } }
        /// The whole command line, as the container runtime is given it.
        var commandLine: [TracedText] { command + arguments }
    }
    struct Pod: Sendable {
        var name: String
        var node: YAMLNode
        var containers: [Container]
    }

    var file: String
    var pods: [Pod]

    /// - Throws: `unreadable-manifest`; `setting-twice` where a key is given twice (the kubelet takes the last one and
    ///   says nothing).
    init(_ bytes: [UInt8], file: String) throws(FleetError) {
        self.file = file
        pods = []
        let documents: [YAMLNode]
        do throws(FleetError) { documents = try YAML.documents(bytes, file: file) } catch {
            throw FleetError(
                error.code == .yamlDuplicateKey ? .settingTwice : .unreadableManifest, error.message, hint: error.hint)
        }
        for document in documents where document["kind"]?.text == "Pod" {
            let name = document["metadata"]?["name"]?.text ?? ""
            let containers = (document["spec"]?["containers"]?.items ?? []).map { Self.container($0, file, bytes) }
            pods.append(Pod(name: name, node: document, containers: containers))
        }
    }

    private static func container(_ node: YAMLNode, _ file: String, _ bytes: [UInt8]) -> Container {
        var environment: [String: TracedText] = [:]
        for variable in node["env"]?.items ?? [] {
            guard let name = variable["name"]?.text else { continue }
            if let value = variable["value"] {
                environment[name] = expanded(traced(value, file, bytes), environment)
            } else if variable["valueFrom"] != nil {
                environment[name] = TracedText(String(ShellCommand.unknown), at: .init(file: file, line: variable.line))
            } else {
                environment[name] = TracedText("", at: .init(file: file, line: variable.line))
            }
        }
        func words(_ key: String) -> [TracedText] {
            (node[key]?.items ?? []).map { expanded(traced($0, file, bytes), environment) }
        }
        return Container(
            node: node, command: words("command"), arguments: words("args"), environment: environment)
    }

    private static func traced(_ node: YAMLNode, _ file: String, _ bytes: [UInt8]) -> TracedText {
        let value = node.scalar?.value ?? ""
        // Plain or simply quoted, the value is in the file byte by byte.
        for start in [node.range.lowerBound, node.range.lowerBound + 1] {
            let range = start..<start + value.utf8.count
            if range.upperBound <= bytes.count, bytes[range].elementsEqual(value.utf8) {
                return TracedText(file: file, bytes, range, line: node.line)
            }
        }
        return TracedText(value, at: .init(file: file, line: node.line))
    }

    /// Kubernetes' own `$(NAME)`: replaced where the variable is known, left as it stands where not; `$$(` is `$(`.
    static func expanded(_ text: TracedText, _ environment: [String: TracedText]) -> TracedText {
        let dollar = UInt8(ascii: "$")
        var result = TracedText("")
        var index = 0
        while index < text.bytes.count {
            let rest = text[index..<text.bytes.count]
            if rest.hasPrefix("$$") {
                result = result + TracedText("$", at: rest.place.map { .init(file: $0.file, line: $0.line) })
                index += 2
            } else if rest.hasPrefix("$("), let end = rest.firstIndex(of: UInt8(ascii: ")")),
                let value = environment[rest[2..<end].text]
            {
                result = result + value
                index += end + 1
            } else {
                var length = 1
                while index + length < text.bytes.count, text.bytes[index + length].value != dollar { length += 1 }
                result = result + text[index..<index + length]
                index += length
            }
        }
        return result
    }
}

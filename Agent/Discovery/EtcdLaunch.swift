internal import FleetSystem

/// How this node starts its etcd: the static pod or the unit, with the command line and environment that result.
struct EtcdLaunch: Sendable {
    enum Kind: Sendable {
        case staticPod(StaticPod)
        case unit(SystemdUnit)
    }
    var kind: Kind
    var executable: TracedText
    var arguments: [TracedText]
    var environment: [String: TracedText]
    /// Where relative paths begin, as etcd sees it.
    var workingDirectory: String

    init(pod: StaticPod) {
        kind = .staticPod(pod)
        executable = pod.command[0]
        arguments = Array(pod.command.dropFirst())
        environment = pod.environment
        workingDirectory = pod.workingDirectory
    }

    /// nil for a unit that starts something else.
    ///
    /// - Throws: `unsupported-unit` and the errors of its parts.
    init?(unit: SystemdUnit) throws(FleetError) {
        // Cheap and certain: a unit that is not etcd's is not read further, whatever is wrong with it.
        guard unit.values("ExecStart").contains(where: { $0.text.contains("etcd") || $0.text.contains("$") }) else {
            return nil
        }
        let first = unit.values("ExecStart").last.map { UnitWords.split($0).first?.text ?? "" } ?? ""
        let name = FileSystem.name(of: String(first.drop { "@-:+!|".contains($0) }))
        let isShell = ["sh", "bash", "dash"].contains(name)
        guard name == "etcd" || isShell else { return nil }
        if isShell, !unit.values("ExecStart").contains(where: { $0.text.contains("etcd") }) { return nil }
        var environment = try unit.environment()
        var words = try unit.command()
        if isShell {
            guard words.count >= 3, words[1].hasPrefix("-"), words[1].text.hasSuffix("c"), Self.names(etcdIn: words[2])
            else { return nil }
            let (command, assignments) = try ShellCommand.parse(words[2], environment)
            guard let executable = command.first, FileSystem.name(of: executable.text) == "etcd" else { return nil }
            words = command
            environment.merge(assignments) { $1 }
        }
        for key in ["RootDirectory", "RootImage"] {
            if let value = unit.value(key) {
                throw FleetError(
                    .unsupportedUnit, "\(unit.name) runs etcd in another root: \(key)=\(value.text)",
                    hint: "let \(unit.name) run etcd in the host's own file system")
            }
        }
        kind = .unit(unit)
        executable = words[0]
        arguments = Array(words.dropFirst())
        self.environment = environment
        let directory = try unit.value("WorkingDirectory").map(unit.specifiers.expand)?.text ?? "/"
        workingDirectory = normalised(String(directory.drop { $0 == "-" }))
    }

    /// Some word of a script is etcd itself, not one of its tools: only then is the script worth following.
    private static func names(etcdIn script: TracedText) -> Bool {
        script.text.split { " \t\n;|&()\"'`".contains($0) }.contains { FileSystem.name(of: String($0)) == "etcd" }
    }

    /// The words in which errors name it.
    var name: String {
        switch kind {
        case .staticPod(let pod): pod.manifest
        case .unit(let unit): unit.name
        }
    }

    /// A path of etcd's own view, on the host.
    func hostPath(_ inner: String, _ flag: String) throws(FleetError) -> String {
        switch kind {
        case .staticPod(let pod): try pod.hostPath(of: inner, flag).path
        case .unit: normalised(inner, in: workingDirectory)
        }
    }

    func settings(_ files: NodeFiles) throws(FleetError) -> EtcdSettings {
        try EtcdSettings.resolve(arguments: arguments, environment: environment) { (path) throws(FleetError) in
            let file = try hostPath(path, "--config-file")
            guard try files.exists(file) else {
                throw FleetError(
                    .unreadableConfiguration, "\(name) gives etcd the configuration file \(file), which does not exist",
                    hint: "create \(file), or correct --config-file")
            }
            return (file, try files.read(file))
        }
    }
}

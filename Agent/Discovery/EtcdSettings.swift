internal import FleetSystem

/// etcd's effective settings under the names of its flags, each with its origin.
///
/// Rules of etcd (`facts`: embed/config.go, etcdmain/config.go of 3.4 to 3.6): with `--config-file` or
/// `ETCD_CONFIG_FILE` all other flags and variables are ignored; otherwise flags go before `ETCD_*` variables, and one
/// option given both ways stops etcd from 3.4 on ("conflicting environment variable").
struct EtcdSettings: Sendable, Equatable {
    /// The options that matter to a backup or a restore.
    static let names = [
        "name", "data-dir", "wal-dir", "listen-client-urls", "advertise-client-urls", "initial-advertise-peer-urls",
        "initial-cluster", "initial-cluster-state", "initial-cluster-token", "cert-file", "key-file", "trusted-ca-file",
        "auto-tls",
    ]

    /// Set by somebody.
    var given: [String: Setting] = [:]
    /// The configuration file's path as etcd was given it.
    var configFile: Setting?

    /// - Parameter readConfiguration: the file's name on the node and its bytes, for a path as etcd sees it.
    static func resolve(
        arguments: [TracedText], environment: [String: TracedText],
        readConfiguration: (String) throws(FleetError) -> (file: String, bytes: [UInt8])
    ) throws(FleetError) -> EtcdSettings {
        var settings = EtcdSettings()
        let flags = try EtcdFlags.parse(arguments)
        var values: [String: Setting] = [:]
        for (name, value) in flags where names.contains(name) || name == "config-file" {
            let setting = try checked(Setting(value, .flag(name)), name)
            if let first = values[name] { throw twice("--\(name)", first.origin, setting.origin) }
            values[name] = setting
        }
        let configFile =
            values["config-file"]
            ?? environment["ETCD_CONFIG_FILE"].flatMap {
                $0.isEmpty ? nil : Setting($0, .environment("ETCD_CONFIG_FILE"))
            }
        if let configFile {
            let (file, bytes) = try readConfiguration(configFile.value)
            settings.configFile = configFile
            settings.given = try EtcdConfigFile.settings(bytes, file: file)
            return settings
        }
        for name in names {
            let variable = "ETCD_" + name.uppercased().replacing("-", with: "_")
            guard let value = environment[variable], !value.isEmpty else { continue }
            let setting = try checked(Setting(value, .environment(variable)), name)
            if let flag = values[name] {
                // The RPMs' unit passes its own variables on as flags: one value, so nothing is in doubt.
                guard flag.value == setting.value else { throw twice(name, flag.origin, setting.origin) }
            } else {
                values[name] = setting
            }
        }
        settings.given = values
        return settings
    }

    /// The value etcd works with, its own default where nobody set one; nil for what has no default.
    subscript(_ name: String) -> Setting? {
        if let setting = given[name] { return setting }
        func builtIn(_ value: String) -> Setting { Setting(value: value, origin: .init(.builtIn)) }
        switch name {
        case "name": return builtIn("default")
        case "data-dir": return builtIn("\(self["name"]!.value).etcd")
        case "listen-client-urls": return builtIn("http://localhost:2379")
        case "advertise-client-urls": return builtIn("http://localhost:2379")
        case "initial-advertise-peer-urls": return builtIn("http://localhost:2380")
        case "initial-cluster-state": return builtIn("new")
        case "initial-cluster-token": return builtIn("etcd-cluster")
        case "initial-cluster":
            let urls = list("initial-advertise-peer-urls")
            let name = self["name"]!.value
            return builtIn(urls.map { "\(name)=\($0)" }.joined(separator: ","))
        default: return nil
        }
    }

    /// A comma-separated list.
    func list(_ name: String) -> [String] {
        (self[name]?.value ?? "").split(separator: ",").map { String(TracedText(String($0)).trimmed.text) }
    }

    private static func checked(_ setting: Setting, _ name: String) throws(FleetError) -> Setting {
        guard !setting.value.contains(ShellCommand.unknown) else {
            throw FleetError(
                .settingUnresolved, "\(setting.origin): the value of \(name) is made when etcd is started",
                hint: "write the value itself where it is set")
        }
        return setting
    }

    private static func twice(_ name: String, _ first: Setting.Origin, _ second: Setting.Origin) -> FleetError {
        FleetError(
            .settingTwice, "\(name) is set twice: \(first) and \(second)",
            hint: "leave the one that is right and remove the other")
    }
}

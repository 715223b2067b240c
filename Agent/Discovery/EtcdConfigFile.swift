internal import FleetSystem
internal import FleetYAML

/// etcd's `--config-file`: YAML with the flags' names as keys, TLS under `client-transport-security`.
enum EtcdConfigFile {
    static func settings(_ bytes: [UInt8], file: String) throws(FleetError) -> [String: Setting] {
        let root: YAMLNode?
        do throws(FleetError) { root = try YAML.document(bytes, file: file) } catch {
            throw FleetError(
                error.code == .yamlDuplicateKey ? .settingTwice : .unreadableConfiguration, error.message,
                hint: error.hint)
        }
        var settings: [String: Setting] = [:]
        guard let root else { return settings }
        guard root.pairs != nil else {
            throw FleetError(
                .unreadableConfiguration, "\(file) holds no keys", hint: "this is not a configuration file of etcd")
        }
        for name in EtcdSettings.names {
            let node = isTransport(name) ? root["client-transport-security"]?[name] : root[name]
            guard let node else { continue }
            guard node.scalar != nil else {
                throw FleetError(
                    .unreadableConfiguration, "\(file):\(node.line): \(name) is not a single value",
                    hint: "etcd takes a text there; lists are written with commas")
            }
            guard let text = node.text, !text.isEmpty else { continue }
            let key = isTransport(name) ? "client-transport-security.\(name)" : name
            settings[name] = Setting(
                value: text, origin: .init(.configKey(key), file: file, line: node.line, range: node.range))
        }
        return settings
    }

    private static func isTransport(_ name: String) -> Bool {
        ["cert-file", "key-file", "trusted-ca-file", "auto-tls"].contains(name)
    }
}

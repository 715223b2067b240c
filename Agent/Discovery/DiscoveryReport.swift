public import FleetProtocol

/// The table that `fleet-agent discover` prints for people: field, value, and where the value comes from.
public enum DiscoveryReport {
    /// Lines without colours, ended by a newline; `-` stands for a value that is not there.
    public static func text(_ instance: EtcdInstance) -> String {
        var rows = [["FIELD", "VALUE", "SOURCE"]]
        func add(_ field: String, _ value: String?) {
            rows.append([field, value ?? "-", instance.sources[field] ?? ""])
        }
        add("topology", instance.topology.rawValue)
        add("name", instance.name)
        add("version", instance.version)
        add("dataDir", instance.dataDir)
        add("walDir", instance.walDir)
        add("endpoint", instance.endpoint)
        add("cacert", instance.cacert)
        add("cert", instance.cert)
        add("key", instance.key)
        add("peerURLs", instance.peerURLs.joined(separator: ","))
        add("initialCluster", instance.initialCluster)
        add("initialClusterToken", instance.initialClusterToken)
        add("pid", instance.pid.map(String.init))
        if let manifest = instance.manifest { add("manifest", manifest) }
        if let unit = instance.unit { add("unit", unit) }
        let widths = (0..<2).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) } + [row[2]]
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }.joined()
    }
}

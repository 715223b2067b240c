internal import FleetProtocol

/// What people should know of snapshots that are good: each matter once a command, with the nodes that it is about. What is
/// known of a version of etcd is the same at every backup, and is told in one line.
enum BackupWarnings {
    static func lines(_ saved: [SnapshotRecord]) -> [String] {
        var matters: [(text: String, nodes: [String])] = []
        for snapshot in saved {
            let version = "etcd \(snapshot.facts.etcdVersion)"
            // As the agent tells them, see its `KnownProblems`.
            let known = snapshot.facts.warnings.count { $0.hasPrefix(version + ": ") }
            var texts = snapshot.facts.warnings.filter { !$0.hasPrefix(version + ": ") }.map { "warning: \($0)" }
            if known > 0 {
                texts.append("\(version) has \(known == 1 ? "a known problem" : "\(known) known problems")")
            }
            for text in texts {
                let place = matters.firstIndex { $0.text == text } ?? matters.endIndex
                if place == matters.endIndex { matters.append((text, [])) }
                let node = "\(snapshot.cluster)/\(snapshot.node)"
                if !matters[place].nodes.contains(node) { matters[place].nodes.append(node) }
            }
        }
        guard let example = saved.first(where: { !$0.facts.warnings.isEmpty }) else { return [] }
        return matters.map { "\($0.text): \(names($0.nodes.sorted()))" }
            + ["the whole of it: fleetctl snapshot show \(example.id)"]
    }

    private static func names(_ nodes: [String]) -> String {
        let shown = nodes.prefix(10).joined(separator: ", ")
        return nodes.count > 10 ? "\(shown) and \(nodes.count - 10) more" : shown
    }
}

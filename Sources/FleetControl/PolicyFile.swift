internal import FleetProtocol
internal import FleetSystem
internal import FleetYAML

/// A fleet's policies as a file: a list under `policies`, each a mapping. An unknown or repeated key, and a value of the
/// wrong form, is an error with its line.
enum PolicyFile {
    /// - Throws: `usage`, `yaml-syntax`, `yaml-duplicate-key`.
    static func read(_ bytes: [UInt8], file: String) throws(FleetError) -> [FleetPolicy] {
        guard let root = try YAML.document(bytes, file: file) else {
            throw FleetError(.usage, "\(file) is empty", hint: "to remove all policies write 'policies: []'")
        }
        let top = try Mapping(root, "a file of policies", file, ["policies"])
        guard let list = top["policies"]?.items else {
            throw FleetError(
                .usage, "\(file):\(root.line): there is no list 'policies'",
                hint: "see the example of: fleetctl policy apply --help")
        }
        return try list.map { node throws(FleetError) in try policy(node, file) }
    }

    private static func policy(_ node: YAMLNode, _ file: String) throws(FleetError) -> FleetPolicy {
        let keys = [
            "name", "clusters", "labels", "schedule", "timezone", "jitter", "windows", "attempts", "parallel",
            "bandwidth", "objective", "retention", "drill",
        ]
        let values = try Mapping(node, "a policy", file, keys)
        var policy = FleetPolicy(name: try values.text("name") ?? "")
        guard !policy.name.isEmpty else {
            throw FleetError(.usage, "\(file):\(node.line): a policy has no name", hint: "give it one: name: NAME")
        }
        policy.clusters = try values.texts("clusters") ?? []
        if let labels = values["labels"] {
            guard let pairs = labels.pairs else { throw values.wrong("labels", "a mapping such as {env: production}") }
            for pair in pairs {
                guard let key = pair.key.text, let value = pair.value.text else {
                    throw values.wrong("labels", "a mapping of words such as {env: production}")
                }
                policy.labels[key] = value
            }
        }
        // What is written and empty would select every cluster.
        guard values["clusters"] == nil || !policy.clusters.isEmpty, values["labels"] == nil || !policy.labels.isEmpty
        else {
            throw FleetError(
                .usage, "\(file):\(node.line): policy \(policy.name) selects by an empty list",
                hint: "name clusters or labels, or leave both out for every cluster")
        }
        policy.schedule = try values.text("schedule")
        policy.timezone = try values.text("timezone") ?? policy.timezone
        policy.jitter = try values.seconds("jitter") ?? policy.jitter
        policy.windows = try values.texts("windows") ?? []
        policy.attempts = try values.number("attempts") ?? policy.attempts
        policy.parallel = try values.number("parallel") ?? policy.parallel
        policy.bandwidth = try values.rate("bandwidth")
        policy.objective = try values.seconds("objective")
        policy.drill = try values.text("drill")
        if let node = values["retention"] {
            let keeps = try Mapping(
                node, "a retention", file, ["last", "hourly", "daily", "weekly", "monthly", "yearly"])
            func count(_ key: String) throws(FleetError) -> Int { try keeps.number(key) ?? 0 }
            policy.retention = RetentionPolicy(
                last: try count("last"), hourly: try count("hourly"), daily: try count("daily"),
                weekly: try count("weekly"), monthly: try count("monthly"), yearly: try count("yearly"))
        }
        return policy
    }

    /// A mapping of which each key is known.
    private struct Mapping {
        let node: YAMLNode
        let file: String

        init(_ node: YAMLNode, _ what: String, _ file: String, _ known: [String]) throws(FleetError) {
            guard let pairs = node.pairs else {
                throw FleetError(.usage, "\(file):\(node.line): \(what) is a mapping", hint: "write 'key: value' lines")
            }
            // What is written with nothing behind it may be a template that was not filled in.
            for pair in pairs where pair.value.scalar?.isNull == true {
                throw FleetError(
                    .usage, "\(file):\(pair.key.line): \(pair.key.text ?? "a key") has no value",
                    hint: "give it one, or leave the line out")
            }
            for pair in pairs where !known.contains(pair.key.text ?? "") {
                throw FleetError(
                    .usage, "\(file):\(pair.key.line): \(what) has no \(Names.quote(pair.key.text ?? "such key"))",
                    hint: "known are: \(known.joined(separator: ", "))")
            }
            self.node = node
            self.file = file
        }

        subscript(_ key: String) -> YAMLNode? { node[key] }

        func wrong(_ key: String, _ form: String) -> FleetError {
            FleetError(.usage, "\(file):\(node[key]?.line ?? node.line): \(key) is not \(form)", hint: "write \(form)")
        }

        func text(_ key: String) throws(FleetError) -> String? {
            guard let value = self[key] else { return nil }
            guard let text = value.text else { throw wrong(key, "one value") }
            return text
        }

        func texts(_ key: String) throws(FleetError) -> [String]? {
            guard let value = self[key] else { return nil }
            guard let items = value.items else { throw wrong(key, "a list such as [a, b]") }
            return try items.map { item throws(FleetError) in
                guard let text = item.text else { throw wrong(key, "a list of words such as [a, b]") }
                return text
            }
        }

        func number(_ key: String) throws(FleetError) -> Int? {
            guard let text = try text(key) else { return nil }
            guard let number = Int(text) else { throw wrong(key, "a whole number") }
            return number
        }

        func rate(_ key: String) throws(FleetError) -> Int? {
            guard let text = try text(key) else { return nil }
            guard let rate = Rates.parse(text) else { throw wrong(key, Rates.form) }
            return rate
        }

        func seconds(_ key: String) throws(FleetError) -> Int? {
            guard let text = try text(key) else { return nil }
            guard let length = Durations.parse(text) else { throw wrong(key, "a length such as 10m, 6h or 1d12h") }
            return Int(length.seconds)
        }
    }
}

internal import FleetSystem

/// Builds trees from events: aliases are replaced by what they stand for, and what readers of YAML disagree on
/// (keys given twice, merge keys) is refused.
struct YAMLComposer {
    let file: String
    let limits: YAML.Limits
    private var anchors: [String: (node: YAMLNode, nodes: Int)] = [:]
    private var count = 0

    init(file: String, limits: YAML.Limits) {
        self.file = file
        self.limits = limits
    }

    mutating func compose(_ events: inout YAMLEvents) throws(FleetError) -> [YAMLNode] {
        var documents: [YAMLNode] = []
        while true {
            let event = try events.next()
            switch event.kind {
            case .streamEnd: return documents
            case .documentStart:
                anchors = [:]
                let root = try node(try events.next(), &events, depth: 0)
                if root.scalar?.isNull != true { documents.append(root) }
            default: break
            }
        }
    }

    private mutating func node(
        _ event: YAMLEvent, _ events: inout YAMLEvents, depth: Int
    ) throws(FleetError) -> YAMLNode {
        guard depth <= limits.depth else { throw refused(event.line, "nested deeper than \(limits.depth) levels") }
        let before = count
        try add(1, event.line)
        var range = event.range
        let content: YAMLNode.Content
        switch event.kind {
        case .alias(let name):
            // libyaml checks nothing here: an alias before its anchor, or inside it, has no value yet.
            guard let target = anchors[name] else { throw refused(event.line, "the alias *\(name) has no anchor") }
            try add(target.nodes, event.line)
            return target.node
        case .scalar(let scalar): content = .scalar(scalar)
        case .sequenceStart:
            var items: [YAMLNode] = []
            while true {
                let next = try events.next()
                if case .sequenceEnd = next.kind {
                    range = range.lowerBound..<next.range.upperBound
                    break
                }
                items.append(try node(next, &events, depth: depth + 1))
            }
            content = .sequence(items)
        case .mappingStart:
            var pairs: [YAMLPair] = []
            var lines: [String: Int] = [:]
            while true {
                let next = try events.next()
                if case .mappingEnd = next.kind {
                    range = range.lowerBound..<next.range.upperBound
                    break
                }
                let key = try node(next, &events, depth: depth + 1)
                if let name = key.scalar?.value {
                    if let first = lines.updateValue(key.line, forKey: name) { throw duplicate(name, first, key.line) }
                    if name == "<<", key.scalar?.style == .plain {
                        throw refused(key.line, "merge keys (<<) are not supported")
                    }
                }
                pairs.append(YAMLPair(key: key, value: try node(try events.next(), &events, depth: depth + 1)))
            }
            content = .mapping(pairs)
        default: throw refused(event.line, "a value is missing")
        }
        var node = YAMLNode(
            content: content, tag: event.tag, range: range, line: event.line, column: event.column,
            isShared: event.anchor != nil)
        if let anchor = event.anchor {
            node = Self.shared(node)
            anchors[anchor] = (node, count - before)
        }
        return node
    }

    private mutating func add(_ nodes: Int, _ line: Int) throws(FleetError) {
        count += nodes
        guard count <= limits.nodes else { throw refused(line, "more than \(limits.nodes) values") }
    }

    private static func shared(_ node: YAMLNode) -> YAMLNode {
        var node = node
        node.isShared = true
        switch node.content {
        case .scalar: break
        case .sequence(let items): node.content = .sequence(items.map(shared))
        case .mapping(let pairs):
            node.content = .mapping(pairs.map { YAMLPair(key: $0.key, value: shared($0.value)) })
        }
        return node
    }

    private func refused(_ line: Int, _ reason: String) -> FleetError {
        FleetError(.yamlSyntax, "\(file):\(line): \(reason)", hint: "correct \(file) at line \(line)")
    }

    private func duplicate(_ key: String, _ first: Int, _ second: Int) -> FleetError {
        FleetError(
            .yamlDuplicateKey, "\(file) sets \(key) twice: at line \(first) and at line \(second)",
            hint: "remove one of the two lines from \(file)")
    }
}

/// A value of etcd's configuration with the place that really sets it.
public struct Setting: Sendable, Equatable {
    public var value: String
    public var origin: Origin

    public struct Origin: Sendable, Equatable {
        public enum Kind: Sendable, Equatable {
            case flag(String)
            /// The variable that holds it.
            case environment(String)
            case configKey(String)
            /// The path of a volume of the static pod.
            case hostPath(volume: String)
            /// etcd's own default: it is set nowhere.
            case builtIn
        }
        public var kind: Kind
        /// As the node names it; nil for what is written in no file.
        public var file: String?
        public var line: Int
        /// The bytes of `file` that hold the value and nothing else; nil where they can't be told apart.
        public var range: Range<Int>?

        public init(_ kind: Kind, file: String? = nil, line: Int = 0, range: Range<Int>? = nil) {
            self.kind = kind
            self.file = file
            self.line = line
            self.range = range
        }
    }

    public init(value: String, origin: Origin) {
        self.value = value
        self.origin = origin
    }

    init(_ text: TracedText, _ kind: Origin.Kind) {
        value = text.text
        let place = text.place
        origin = Origin(kind, file: place?.file, line: place?.line ?? 0, range: text.range)
    }
}

extension Setting.Origin: CustomStringConvertible {
    /// "/etc/default/etcd:3 (ETCD_DATA_DIR)"
    public var description: String {
        let how =
            switch kind {
            case .flag(let name): "--\(name)"
            case .environment(let name): name
            case .configKey(let name): name
            case .hostPath(let volume): "hostPath of volume \(volume)"
            case .builtIn: "etcd's default"
            }
        guard let file else { return how }
        return "\(file):\(line) (\(how))"
    }
}

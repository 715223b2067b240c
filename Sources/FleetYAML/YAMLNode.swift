/// A value of a YAML document with the place it was written at.
public struct YAMLNode: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        case scalar(YAMLScalar)
        case sequence([YAMLNode])
        case mapping([YAMLPair])
    }

    public var content: Content
    /// An explicit tag ("!!str", resolved: "tag:yaml.org,2002:str"), nil where the document gives none.
    public var tag: String?
    /// The bytes of the file that the value takes, quotes included.
    public var range: Range<Int>
    /// Both from 1; columns count characters.
    public var line: Int
    public var column: Int
    /// It has an anchor or stands for an alias: other values of the document change with it.
    public var isShared: Bool

    public var scalar: YAMLScalar? { if case .scalar(let scalar) = content { scalar } else { nil } }
    public var items: [YAMLNode]? { if case .sequence(let items) = content { items } else { nil } }
    public var pairs: [YAMLPair]? { if case .mapping(let pairs) = content { pairs } else { nil } }

    /// The text of a scalar; nil for a collection and for a null.
    public var text: String? {
        guard let scalar, !scalar.isNull else { return nil }
        return scalar.value
    }

    /// The value under a key of a mapping; nil where there is none, or no mapping.
    public subscript(_ key: String) -> YAMLNode? { pairs?.first { $0.key.scalar?.value == key }?.value }
}

public struct YAMLPair: Sendable, Equatable {
    public var key: YAMLNode
    public var value: YAMLNode
}

public struct YAMLScalar: Sendable, Equatable {
    public enum Style: Sendable { case plain, singleQuoted, doubleQuoted, literal, folded }
    public var value: String
    public var style: Style

    /// Plain nothing, `~` or `null` (YAML 1.1's null).
    public var isNull: Bool { style == .plain && ["", "~", "null", "Null", "NULL"].contains(value) }
}

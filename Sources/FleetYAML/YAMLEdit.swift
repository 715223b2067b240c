public import FleetSystem

extension YAML {
    /// The file with one scalar's text replaced and every other byte as it was: quotes keep their kind, a comment after
    /// the value stays. A plain value gets double quotes only where it could not be plain.
    ///
    /// - Throws: `yaml-not-editable` for a block scalar, a tagged value, and one that is shared through an anchor.
    public static func replacing(
        _ node: YAMLNode, with value: String, in bytes: [UInt8], file: String
    ) throws(FleetError) -> [UInt8] {
        func refuse(_ reason: String) -> FleetError {
            FleetError(
                .yamlNotEditable, "\(file):\(node.line): the value \(reason)",
                hint: "write it as a plain value on one line, then try again")
        }
        guard let scalar = node.scalar else { throw refuse("is a list or a mapping") }
        // Nothing stands between the colon and the line's end, and what is put there would stick to the colon.
        guard !node.range.isEmpty else { throw refuse("is empty") }
        guard !node.isShared else { throw refuse("is shared through an anchor, so changing it changes others") }
        guard node.tag == nil else { throw refuse("has an explicit tag") }
        guard value.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw refuse("would hold control characters")
        }
        let text: String
        switch scalar.style {
        case .plain: text = canBePlain(value) ? value : doubleQuoted(value)
        case .singleQuoted: text = "'" + escaped(value, "'", by: "'") + "'"
        case .doubleQuoted: text = doubleQuoted(value)
        case .literal, .folded: throw refuse("is a block of lines")
        }
        return Array(bytes[..<node.range.lowerBound]) + Array(text.utf8) + Array(bytes[node.range.upperBound...])
    }

    /// The values that surely mean themselves without quotes, in block and in flow context: paths and names.
    static func canBePlain(_ value: String) -> Bool {
        guard let first = value.utf8.first, isLetter(first) || first == UInt8(ascii: "/") else { return false }
        guard !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(value.lowercased()) else {
            return false
        }
        return value.utf8.allSatisfy { isLetter($0) || "0123456789/._-+@=".utf8.contains($0) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func doubleQuoted(_ value: String) -> String {
        "\"" + escaped(escaped(value, "\\", by: "\\"), "\"", by: "\\") + "\""
    }

    private static func escaped(_ value: String, _ character: Character, by escape: Character) -> String {
        value.reduce(into: "") { text, next in
            if next == character { text.append(escape) }
            text.append(next)
        }
    }
}

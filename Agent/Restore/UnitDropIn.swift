internal import FleetSystem

/// The drop-in by which the agent overrides what a packaged unit sets: the package's own file stays as it is.
struct UnitDropIn {
    private var lines: [String] = []

    var isEmpty: Bool { lines.isEmpty }

    /// Drop-ins apply in the order of their names, so this one comes last.
    static func path(_ unit: String) -> String { "/etc/systemd/system/\(unit).d/zz-fleet-agent.conf" }

    mutating func setEnvironment(_ name: String, _ value: String) {
        lines.append("Environment=\"\(name)=\(Self.escaped(value))\"")
    }

    /// Overrides the directive of a packaged unit that holds the bytes `range` of `file`.
    ///
    /// - Returns: false when no directive that can be repeated holds them.
    mutating func replace(
        _ file: String, _ range: Range<Int>, _ value: String, in unit: SystemdUnit
    ) throws(FleetError) -> Bool {
        func holds(_ text: TracedText) -> Bool {
            text.bytes.contains { $0.place?.file == file && $0.place?.offset == range.lowerBound }
        }
        for directive in unit.parts.flatMap(\.directives).reversed()
        where directive.section == "Service" && holds(directive.value) {
            switch directive.key {
            case "ExecStart":
                // The command as it is written, with its quotes, variables and specifiers, but for these bytes.
                lines += ["ExecStart=", "ExecStart=" + Self.replacing(directive.value, range, Self.specifiers(value))]
                return true
            case "Environment":
                guard let word = UnitWords.split(directive.value).first(where: holds),
                    let equals = word.firstIndex(of: UInt8(ascii: "="))
                else { return false }
                let text = Self.replacing(word[equals + 1..<word.bytes.count], range, Self.specifiers(value))
                let quoted = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
                lines.append("Environment=\"\(word[0..<equals].text)=\(quoted)\"")
                return true
            default: return false
            }
        }
        return false
    }

    func text(addedTo before: String?) -> String {
        let head =
            before.map { $0.hasSuffix("\n") || $0.isEmpty ? $0 : $0 + "\n" }
            ?? "# Written by fleet-agent at a restore: overrides the packaged unit.\n"
        return head + "[Service]\n" + lines.joined(separator: "\n") + "\n"
    }

    /// Needs no quotes in a unit, an environment file or a shell.
    static func isPlain(_ value: String) -> Bool {
        value.utf8.allSatisfy { ShellCommand.isNameByte($0) || "/.-+:@,".utf8.contains($0) }
    }

    private static func escaped(_ value: String) -> String {
        specifiers(value).replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    }

    private static func specifiers(_ value: String) -> String { value.replacing("%", with: "%%") }

    private static func replacing(_ text: TracedText, _ range: Range<Int>, _ value: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.bytes {
            let offset = byte.place?.offset
            if offset == range.lowerBound { bytes += value.utf8 }
            if let offset, range.contains(offset) { continue }
            bytes.append(byte.value)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

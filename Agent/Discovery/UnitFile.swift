internal import FleetSystem

/// One unit file or drop-in, as systemd reads lines (systemd.syntax(7)): `[Section]`, `Key=Value`, a trailing
/// backslash continues a line and comment lines in between are skipped.
struct UnitFile: Sendable, Equatable {
    struct Directive: Sendable, Equatable {
        var section: String
        var key: String
        var value: TracedText
    }
    var path: String
    var directives: [Directive]

    init(_ bytes: [UInt8], path: String) {
        self.path = path
        directives = []
        var section = ""
        var pending: TracedText?
        let newline = UInt8(ascii: "\n")
        let whole = TracedText(file: path, bytes)
        for slice in whole.bytes.split(omittingEmptySubsequences: false, whereSeparator: { $0.value == newline }) {
            let line = TracedText(slice)
            let trimmed = line.trimmed
            let isComment = trimmed.hasPrefix("#") || trimmed.hasPrefix(";")
            if isComment { continue }
            if pending == nil, trimmed.isEmpty { continue }
            var logical = (pending ?? TracedText("")) + line
            pending = nil
            if Self.continues(line) {
                // The backslash becomes a space; it is not the byte that stands in the file.
                let last = logical.bytes.lastIndex { $0.value == UInt8(ascii: "\\") }!
                logical.bytes.removeSubrange(last...)
                logical.bytes.append(
                    .init(value: UInt8(ascii: " "), place: line.place.map { .init(file: $0.file, line: $0.line) }))
                pending = logical
                continue
            }
            add(logical.trimmed, &section)
        }
        if let pending { add(pending.trimmed, &section) }
    }

    private mutating func add(_ line: TracedText, _ section: inout String) {
        if line.hasPrefix("["), line.bytes.last?.value == UInt8(ascii: "]") {
            section = line[1..<line.bytes.count - 1].text
        } else if let equals = line.firstIndex(of: UInt8(ascii: "=")) {
            directives.append(
                Directive(
                    section: section, key: line[0..<equals].trimmed.text,
                    value: line[equals + 1..<line.bytes.count].trimmed))
        }
    }

    /// An odd number of backslashes at the end.
    private static func continues(_ line: TracedText) -> Bool {
        let text = line.bytes.last?.value == UInt8(ascii: "\r") ? line.bytes.dropLast() : line.bytes[...]
        return !text.reversed().prefix { $0.value == UInt8(ascii: "\\") }.count.isMultiple(of: 2)
    }
}

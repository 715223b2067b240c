/// A file of `EnvironmentFile=`, read by the rules of systemd's own parser (`parse_env_file_internal`): `#` and `;`
/// begin a comment only at the start of a line, so `A="x" # y` sets A to `x# y`; single quotes take all as it is;
/// between double quotes and outside a backslash escapes, and before a line's end it joins the next.
enum EnvironmentFile {
    /// In order; a name may come more than once.
    static func parse(_ bytes: [UInt8], path: String) -> [(name: String, value: TracedText)] {
        var parser = Parser(bytes: TracedText(file: path, bytes).bytes)
        return parser.parse()
    }

    private struct Parser {
        private enum State { case beforeKey, comment, key, beforeValue, value, single, double }

        let bytes: [TracedText.Byte]
        private var state = State.beforeKey
        private var key = TracedText("")
        private var value = TracedText("")
        /// Length of the value without the blanks that end it.
        private var kept = 0
        private var result: [(String, TracedText)] = []

        init(bytes: [TracedText.Byte]) { self.bytes = bytes }

        mutating func parse() -> [(String, TracedText)] {
            var index = 0
            while index < bytes.count {
                let byte = bytes[index]
                let c = byte.value
                let isNewline = c == 0x0A || c == 0x0D
                let isBlank = c == 0x20 || c == 0x09
                index += 1
                switch state {
                case .beforeKey:
                    if isNewline || isBlank { break }
                    if c == UInt8(ascii: "#") || c == UInt8(ascii: ";") {
                        state = .comment
                        break
                    }
                    state = .key
                    key = TracedText([byte])
                case .comment: if isNewline { state = .beforeKey }
                case .key:
                    if isNewline {
                        state = .beforeKey
                    } else if c == UInt8(ascii: "=") {
                        (state, value, kept) = (.beforeValue, TracedText(""), 0)
                    } else {
                        key.bytes.append(byte)
                    }
                case .beforeValue, .value:
                    if isNewline {
                        end()
                    } else if c == UInt8(ascii: "\\") {
                        state = .value
                        if index < bytes.count, bytes[index].value != 0x0A { take(bytes[index]) }
                        index += 1
                    } else if state == .beforeValue, c == UInt8(ascii: "'") {
                        state = .single
                    } else if state == .beforeValue, c == UInt8(ascii: "\"") {
                        state = .double
                    } else if state == .value || !isBlank {
                        state = .value
                        value.bytes.append(byte)
                        if !isBlank { kept = value.bytes.count }
                    }
                case .single: if c == UInt8(ascii: "'") { state = .beforeValue } else { take(byte) }
                case .double:
                    if c == UInt8(ascii: "\"") {
                        state = .beforeValue
                    } else if c == UInt8(ascii: "\\"), index < bytes.count {
                        let next = bytes[index]
                        if "\"\\`$".utf8.contains(next.value) {
                            take(next)
                        } else if next.value != 0x0A {
                            take(byte)
                            take(next)
                        }
                        index += 1
                    } else {
                        take(byte)
                    }
                }
            }
            if state != .beforeKey, state != .comment, state != .key { end() }
            return result
        }

        private mutating func take(_ byte: TracedText.Byte) {
            value.bytes.append(byte)
            kept = value.bytes.count
        }

        private mutating func end() {
            let name = key.trimmed
            // systemd refuses names that no shell would take; "export A=b" is one of them.
            let valid = !name.isEmpty && name.text.utf8.allSatisfy(ShellCommand.isNameByte)
            if valid { result.append((name.text, value[0..<kept])) }
            state = .beforeKey
        }
    }
}

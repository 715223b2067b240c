internal import FleetSystem

/// The few shell words that unit files put around etcd:
/// `/bin/bash -c "GOMAXPROCS=$(nproc) /usr/bin/etcd --name=\"${ETCD_NAME}\""`. Assignments, `exec`, quotes and
/// variables are followed; whatever else a shell can do is refused.
enum ShellCommand {
    /// Stands for what only the shell knows: the output of a command.
    static let unknown: Character = "\u{FFFD}"

    /// The words of the simple command that `script` is, and the variables that it sets before it.
    ///
    /// - Throws: `unsupported-unit` for anything that is no simple command.
    static func parse(
        _ script: TracedText, _ environment: [String: TracedText]
    ) throws(FleetError) -> (words: [TracedText], assignments: [String: TracedText]) {
        var parser = Parser(bytes: script.bytes, environment: environment)
        var words = try parser.words()
        var assignments: [String: TracedText] = [:]
        while let first = words.first, let (name, value) = assignment(first) {
            assignments[name] = value
            words.removeFirst()
        }
        if words.first?.text == "exec" { words.removeFirst() }
        return (words, assignments)
    }

    private static func assignment(_ word: TracedText) -> (String, TracedText)? {
        guard let equals = word.firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return nil }
        let name = word[0..<equals].text
        guard name.utf8.allSatisfy(isNameByte), !(0x30...0x39).contains(name.utf8.first!) else { return nil }
        return (name, word[equals + 1..<word.bytes.count])
    }

    static func isNameByte(_ c: UInt8) -> Bool {
        (0x30...0x39).contains(c) || (0x41...0x5A).contains(c) || (0x61...0x7A).contains(c) || c == 0x5F
    }

    private struct Parser {
        let bytes: [TracedText.Byte]
        let environment: [String: TracedText]
        var index = 0
        var current = TracedText("")
        var started = false
        var result: [TracedText] = []

        mutating func words() throws(FleetError) -> [TracedText] {
            var quote: UInt8?
            while index < bytes.count {
                let byte = bytes[index]
                let c = byte.value
                switch (quote, c) {
                case (nil, UInt8(ascii: " ")), (nil, 0x09), (nil, 0x0A): endWord()
                case (nil, UInt8(ascii: "'")), (nil, UInt8(ascii: "\"")):
                    quote = c
                    started = true
                case (let open?, _) where c == open: quote = nil
                case (UInt8(ascii: "'"), _): append(byte)
                case (_, UInt8(ascii: "\\")):
                    index += 1
                    guard index < bytes.count else { throw unsupported("it ends with a backslash") }
                    let next = bytes[index]
                    // Between double quotes only these lose their backslash.
                    if quote != nil, !"$`\"\\".utf8.contains(next.value) { append(byte) }
                    append(next)
                case (_, UInt8(ascii: "$")):
                    try variable(quoted: quote != nil)
                    continue
                case (_, UInt8(ascii: "`")): try substitution(closing: UInt8(ascii: "`"))
                case (nil, _) where ";|&<>()*?[".utf8.contains(c):
                    throw unsupported("it uses \(Character(UnicodeScalar(c)))")
                default: append(byte)
                }
                index += 1
            }
            guard quote == nil else { throw unsupported("a quote is not closed") }
            endWord()
            return result
        }

        private mutating func append(_ byte: TracedText.Byte) {
            current.bytes.append(byte)
            started = true
        }

        private mutating func endWord() {
            if started { result.append(current) }
            (current, started) = (TracedText(""), false)
        }

        /// `$NAME`, `${NAME}` and `$(command)`, from the dollar on; leaves `index` behind it.
        private mutating func variable(quoted: Bool) throws(FleetError) {
            let dollar = bytes[index]
            index += 1
            guard index < bytes.count else { return append(dollar) }
            if bytes[index].value == UInt8(ascii: "(") {
                try substitution(closing: UInt8(ascii: ")"))
                index += 1
                return
            }
            let braced = bytes[index].value == UInt8(ascii: "{")
            if braced { index += 1 }
            let start = index
            while index < bytes.count, ShellCommand.isNameByte(bytes[index].value) { index += 1 }
            let name = TracedText(bytes[start..<index]).text
            if braced {
                guard index < bytes.count, bytes[index].value == UInt8(ascii: "}") else {
                    throw unsupported("it uses ${...} with more than a name")
                }
                index += 1
            }
            guard !name.isEmpty else { return append(dollar) }
            let value = environment[name] ?? TracedText("")
            for byte in value.bytes {
                if !quoted, byte.value == UInt8(ascii: " ") { endWord() } else { append(byte) }
            }
            if quoted { started = true }
        }

        private mutating func substitution(closing: UInt8) throws(FleetError) {
            index += 1
            while index < bytes.count, bytes[index].value != closing {
                guard bytes[index].value != UInt8(ascii: "(") else { throw unsupported("it nests commands") }
                index += 1
            }
            guard index < bytes.count else { throw unsupported("$( is not closed") }
            for byte in String(ShellCommand.unknown).utf8 { append(.init(value: byte, place: bytes[index].place)) }
        }

        private func unsupported(_ reason: String) -> FleetError {
            let place = TracedText(bytes).place.map { "\($0.file):\($0.line): " } ?? ""
            return FleetError(
                .unsupportedUnit, "\(place)the shell command that starts etcd can't be followed: \(reason)",
                hint: "let the unit start etcd itself, with its settings in flags or an environment file")
        }
    }
}

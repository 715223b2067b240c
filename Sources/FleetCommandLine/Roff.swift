/// Text in the language of troff: whatever is put in is printed as it is, and nothing of it is taken for a request.
struct Roff {
    enum Span {
        case plain(String)
        case bold(String)
        case italic(String)
    }

    private var lines: [String] = []

    /// Ended by a newline.
    var source: String { lines.joined(separator: "\n") + "\n" }

    mutating func comment(_ text: String) { lines.append(".\\\" \(text)") }

    /// One of troff's own, which know no quotes.
    mutating func request(_ text: String) { lines.append(".\(text)") }

    mutating func macro(_ name: String, _ arguments: String...) {
        lines.append(([".\(name)"] + arguments.map { "\"\(Self.escaped($0))\"" }).joined(separator: " "))
    }

    /// One line of input, filled together with its neighbours.
    mutating func line(_ spans: [Span]) {
        let text = spans.map { span in
            switch span {
            case .plain(let text): Self.escaped(text)
            case .bold(let text): "\\fB\(Self.escaped(text))\\fR"
            case .italic(let text): "\\fI\(Self.escaped(text))\\fR"
            }
        }.joined()
        // A dot or an apostrophe that begins a line begins a request; a blank begins a new line of output.
        lines.append(text.first.map { ".' ".contains($0) } == true ? "\\&\(text)" : text)
    }

    mutating func text(_ text: String) { line([.plain(text)]) }

    /// A tag, and what it means, indented below or behind it.
    mutating func item(_ tag: [Span], _ meaning: String) {
        macro("TP")
        line(tag)
        text(meaning)
    }

    /// Paragraphs with blank lines between them; lines that are indented stay as they are.
    ///
    /// - Parameter first: the macro before the first one; nil below a heading.
    mutating func paragraphs(_ text: String, first: String? = nil) {
        var before = first
        for block in text.split(separator: "\n", omittingEmptySubsequences: false).split(whereSeparator: \.isEmpty) {
            // A block may be prose, then an example, then prose again.
            for part in Self.runs(block) {
                if let before { macro(before) }
                before = "PP"
                guard part[0].hasPrefix(" ") else {
                    for line in part { self.text(String(line)) }
                    continue
                }
                let indent = part.map { $0.prefix { $0 == " " }.count }.min() ?? 0
                macro("RS", "4")
                request("nf")
                for line in part { self.text(String(line.dropFirst(indent))) }
                request("fi")
                macro("RE")
            }
        }
    }

    private static func runs(_ lines: ArraySlice<Substring>) -> [[Substring]] {
        var runs: [[Substring]] = []
        for line in lines {
            if let last = runs.last?.last, last.hasPrefix(" ") == line.hasPrefix(" ") {
                runs[runs.count - 1].append(line)
            } else {
                runs.append([line])
            }
        }
        return runs
    }

    /// groff_char(7): these stand for other glyphs unless written so, and a command that is copied from the page must be
    /// the one that was meant.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\(rs"
            case "-": result += "\\-"
            case "'": result += "\\(aq"
            case "\"": result += "\\(dq"
            case "`": result += "\\(ga"
            case "^": result += "\\(ha"
            case "~": result += "\\(ti"
            case "\n": result += " "
            case _ where scalar.isASCII: result.unicodeScalars.append(scalar)
            default:
                let hexadecimal = String(scalar.value, radix: 16, uppercase: true)
                result += "\\[u\(String(repeating: "0", count: max(0, 4 - hexadecimal.count)))\(hexadecimal)]"
            }
        }
        return result
    }
}

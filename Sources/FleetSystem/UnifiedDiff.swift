/// The difference of two texts as `diff -u` prints it: what a dry run shows of the files it would change.
public enum UnifiedDiff {
    /// Empty when both are the same; `before` nil is a file that is not there yet.
    public static func text(before: String?, after: String, path: String, context: Int = 3) -> String {
        guard before != after else { return "" }
        let (old, new) = (lines(before ?? ""), lines(after))
        var output = "--- \(before == nil ? "/dev/null" : path)\n+++ \(path)\n"
        for hunk in hunks(script(old, new), context) { output += hunk }
        return output
    }

    private enum Edit {
        case keep(Substring)
        case remove(Substring)
        case add(Substring)
        var isChange: Bool { if case .keep = self { false } else { true } }
    }

    /// Every line with its newline; a last one without is a line of its own kind.
    private static func lines(_ text: String) -> [Substring] {
        var result: [Substring] = []
        var rest = text[...]
        while !rest.isEmpty {
            let end = rest.firstIndex { $0.isNewline }.map { rest.index(after: $0) } ?? rest.endIndex
            result.append(rest[..<end])
            rest = rest[end...]
        }
        return result
    }

    /// The shortest script by the longest common subsequence, after the common ends are cut off: configuration files
    /// are small, and what changes in them smaller.
    private static func script(_ old: [Substring], _ new: [Substring]) -> [Edit] {
        let shared = min(old.count, new.count)
        let head = (0..<shared).prefix { old[$0] == new[$0] }.count
        let tail = (0..<shared - head).prefix { old[old.count - 1 - $0] == new[new.count - 1 - $0] }.count
        let (a, b) = (old[head..<old.count - tail], new[head..<new.count - tail])
        var edits = old[..<head].map(Edit.keep)
        edits += middle(Array(a), Array(b))
        return edits + old[(old.count - tail)...].map(Edit.keep)
    }

    private static func middle(_ a: [Substring], _ b: [Substring]) -> [Edit] {
        // Beyond this the table would be large; then all of it counts as replaced.
        guard a.count * b.count <= 4_000_000 else { return a.map(Edit.remove) + b.map(Edit.add) }
        let width = b.count + 1
        var longest = [Int32](repeating: 0, count: (a.count + 1) * width)
        for i in stride(from: a.count - 1, through: 0, by: -1) {
            for j in stride(from: b.count - 1, through: 0, by: -1) {
                longest[i * width + j] =
                    a[i] == b[j]
                    ? longest[(i + 1) * width + j + 1] + 1
                    : max(longest[(i + 1) * width + j], longest[i * width + j + 1])
            }
        }
        var edits: [Edit] = []
        var (i, j) = (0, 0)
        while i < a.count || j < b.count {
            if i < a.count, j < b.count, a[i] == b[j] {
                edits.append(.keep(a[i]))
                (i, j) = (i + 1, j + 1)
            } else if j == b.count || (i < a.count && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
                edits.append(.remove(a[i]))
                i += 1
            } else {
                edits.append(.add(b[j]))
                j += 1
            }
        }
        return edits
    }

    private static func hunks(_ edits: [Edit], _ context: Int) -> [String] {
        var result: [String] = []
        var index = 0
        var (oldLine, newLine) = (1, 1)
        var start = 0
        func advance(to end: Int) {
            for edit in edits[start..<end] {
                switch edit {
                case .keep: (oldLine, newLine) = (oldLine + 1, newLine + 1)
                case .remove: oldLine += 1
                case .add: newLine += 1
                }
            }
            start = end
        }
        while let first = edits[index...].firstIndex(where: \.isChange) {
            let begin = max(start, first - context)
            var end = first + 1
            // Changes that are closer than twice the context share a hunk.
            while let next = edits[end...].firstIndex(where: \.isChange), next - end <= 2 * context { end = next + 1 }
            let stop = min(edits.count, end + context)
            advance(to: begin)
            let (oldStart, newStart) = (oldLine, newLine)
            var body = ""
            for edit in edits[begin..<stop] {
                let (mark, line): (Character, Substring) =
                    switch edit {
                    case .keep(let line): (" ", line)
                    case .remove(let line): ("-", line)
                    case .add(let line): ("+", line)
                    }
                body.append(mark)
                body += line
                if line.last?.isNewline != true { body += "\n\\ No newline at end of file\n" }
            }
            advance(to: stop)
            result.append("@@ -\(range(oldStart, oldLine)) +\(range(newStart, newLine)) @@\n" + body)
            index = stop
            if index >= edits.count { break }
        }
        return result
    }

    /// "start,count"; an empty side begins at the line before.
    private static func range(_ start: Int, _ end: Int) -> String {
        let count = end - start
        return count == 0 ? "\(start - 1),0" : count == 1 ? "\(start)" : "\(start),\(count)"
    }
}

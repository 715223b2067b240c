/// The difference of two texts as `diff -u` prints it, for a person who decides whether a file may be changed.
public enum UnifiedDiff {
    /// Lines of context around a change.
    private static let context = 3

    private enum Line {
        case same(Substring)
        case removed(Substring)
        case added(Substring)
    }

    /// "" when the texts are equal. Meant for configuration files: the cost is the product of the changed lines of both.
    public static func text(path: String, before: String, after: String) -> String {
        guard before != after else { return "" }
        let lines = compare(split(before), split(after))
        var output = "--- \(before.isEmpty ? "/dev/null" : path)\n+++ \(path)\n"
        var (oldLine, newLine) = (1, 1)
        var i = 0
        while i < lines.count {
            guard let first = lines[i...].firstIndex(where: { if case .same = $0 { false } else { true } }) else {
                break
            }
            let start = max(i, first - context)
            // A hunk ends where more than twice the context follows unchanged.
            var end = first
            var quiet = 0
            while end < lines.count, quiet <= 2 * context {
                if case .same = lines[end] { quiet += 1 } else { quiet = 0 }
                end += 1
            }
            end -= max(0, quiet - context)
            for line in lines[i..<start] { if case .same = line { (oldLine, newLine) = (oldLine + 1, newLine + 1) } }
            var body = ""
            var (oldCount, newCount) = (0, 0)
            for line in lines[start..<end] {
                switch line {
                case .same(let text): (body, oldCount, newCount) = (body + " \(text)\n", oldCount + 1, newCount + 1)
                case .removed(let text): (body, oldCount) = (body + "-\(text)\n", oldCount + 1)
                case .added(let text): (body, newCount) = (body + "+\(text)\n", newCount + 1)
                }
            }
            output +=
                "@@ -\(oldCount == 0 ? oldLine - 1 : oldLine),\(oldCount) +\(newCount == 0 ? newLine - 1 : newLine),\(newCount) @@\n"
                + body
            (oldLine, newLine) = (oldLine + oldCount, newLine + newCount)
            i = end
        }
        return output
    }

    private static func split(_ text: String) -> [Substring] {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    /// The longest common subsequence, between the common beginning and the common end.
    private static func compare(_ old: [Substring], _ new: [Substring]) -> [Line] {
        let head = zip(old, new).prefix { $0 == $1 }.count
        let tail = zip(old.dropFirst(head).reversed(), new.dropFirst(head).reversed()).prefix { $0 == $1 }.count
        let a = Array(old[head..<(old.count - tail)])
        let b = Array(new[head..<(new.count - tail)])
        var length = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in a.indices.reversed() {
            for j in b.indices.reversed() {
                length[i][j] = a[i] == b[j] ? length[i + 1][j + 1] + 1 : max(length[i + 1][j], length[i][j + 1])
            }
        }
        var lines = old.prefix(head).map { Line.same($0) }
        var (i, j) = (0, 0)
        while i < a.count || j < b.count {
            if i < a.count, j < b.count, a[i] == b[j] {
                lines.append(.same(a[i]))
                (i, j) = (i + 1, j + 1)
            } else if j == b.count || (i < a.count && length[i + 1][j] >= length[i][j + 1]) {
                lines.append(.removed(a[i]))
                i += 1
            } else {
                lines.append(.added(b[j]))
                j += 1
            }
        }
        return lines + old.suffix(tail).map { Line.same($0) }
    }
}

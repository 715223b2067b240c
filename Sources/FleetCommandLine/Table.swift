public import FleetSystem

/// Columns for people: headings in capitals, two spaces between columns, no lines. The last column may be longer than
/// the terminal; nothing is ever cut off, since what is cut off at night is what was needed.
public struct Table: Sendable {
    public enum Alignment: Sendable { case left, right }

    private let headings: [String]
    private let alignments: [Alignment]
    private var rows: [[String]] = []
    /// How each cell is painted after its width was measured.
    private var paints: [[(@Sendable (String) -> String)?]] = []

    public init(_ columns: [(String, Alignment)]) {
        headings = columns.map(\.0)
        alignments = columns.map(\.1)
    }

    public init(_ headings: [String]) { self.init(headings.map { ($0, .left) }) }

    /// An empty cell is shown as "-", so that columns can be told apart and cut(1) works.
    public mutating func add(_ cells: [String], paint: [Int: @Sendable (String) -> String] = [:]) {
        precondition(cells.count == headings.count)
        rows.append(cells.map { $0.isEmpty ? "-" : Terminal.clean($0) })
        paints.append((0..<cells.count).map { paint[$0] })
    }

    public var isEmpty: Bool { rows.isEmpty }

    public func print(_ terminal: Terminal) {
        let widths = headings.indices.map { i in max(headings[i].count, rows.map { $0[i].count }.max() ?? 0) }
        terminal.print(terminal.bold(line(headings, widths)))
        for (row, paint) in zip(rows, paints) { terminal.print(line(row, widths, paint)) }
    }

    private func line(_ cells: [String], _ widths: [Int], _ paint: [(@Sendable (String) -> String)?] = []) -> String {
        var text = ""
        for (i, cell) in cells.enumerated() {
            let gap = String(repeating: " ", count: widths[i] - cell.count)
            let painted = i < paint.count ? paint[i]?(cell) ?? cell : cell
            let isLast = i == cells.count - 1
            text += alignments[i] == .right ? gap + painted : painted + (isLast ? "" : gap)
            if !isLast { text += "  " }
        }
        return text
    }
}

/// Sizes and durations for people.
public enum Human {
    /// "480.3 MB", in powers of ten, as disks are sold and etcd's quota is not: the unit says so.
    public static func bytes(_ count: Int64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(count)
        var unit = 0
        while value >= 999.95, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(oneDecimal(value)) \(units[unit])"
    }

    /// "3.2 s", "4 min 10 s", "2 h 3 min", "5 d 2 h".
    public static func duration(_ duration: Duration) -> String {
        let seconds = duration.seconds
        if seconds < 60 { return "\(oneDecimal(seconds)) s" }
        let whole = Int(seconds)
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        if whole < 86_400 { return "\(whole / 3600) h \(whole / 60 % 60) min" }
        return "\(whole / 86_400) d \(whole / 3600 % 24) h"
    }

    private static func oneDecimal(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}

extension Timestamp {
    /// "4 min 10 s ago".
    public func ago(_ now: Timestamp = .now()) -> String {
        now < self ? "in " + Human.duration(since(now)) : Human.duration(now.since(self)) + " ago"
    }
}

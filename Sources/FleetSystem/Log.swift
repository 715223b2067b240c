private import FoundationEssentials
private import Glibc

/// A line a thing that happened: text on a terminal, a JSON object a line elsewhere (systemd's journal), always with
/// one write(2) so that lines of several threads never mix. Nothing secret is ever given to it.
public struct Log: Sendable {
    public enum Level: Int, Sendable, Comparable, CaseIterable {
        case debug, info, warning, error
        public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
        public var name: String { "\(self)" }
    }

    public var level: Level
    private let write: @Sendable (Level, String, [String: String]) -> Void
    private var context: [String: String] = [:]

    /// Any sink; tests collect lines with it.
    public init(level: Level = .info, _ write: @escaping @Sendable (Level, String, [String: String]) -> Void) {
        self.level = level
        self.write = write
    }

    /// To standard error.
    public static func standardError(level: Level = .info) -> Log {
        let human = isatty(2) == 1
        return Log(level: level) { level, message, fields in
            var line: String
            if human {
                line = "\(Timestamp.now().short) \(level.name) \(message)"
                for (key, value) in fields.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
                // What others say must not steer the terminal.
                line = String(line.map { $0.isASCII && $0.asciiValue! < 0x20 || $0 == "\u{7f}" ? " " : $0 })
            } else {
                line = Self.line(level, message, fields)
            }
            line += "\n"
            line.withUTF8 { _ = Glibc.write(2, $0.baseAddress, $0.count) }
        }
    }

    /// A line as the journal has it: one JSON object.
    public static func line(_ level: Level, _ message: String, _ fields: [String: String]) -> String {
        var object = fields
        object["time"] = Timestamp.now().description
        object["level"] = level.name
        object["message"] = message
        return (try? JSON.text(object)) ?? message
    }

    /// What a line says of an error beside its message.
    public static func fields(of error: FleetError) -> [String: String] {
        var fields = ["code": error.code.rawValue]
        fields["hint"] = error.hint
        return fields
    }

    public static let silent = Log(level: .error) { _, _, _ in }

    /// The same log with a field on every line: `log.with("job", id)`.
    public func with(_ key: String, _ value: String) -> Log {
        var copy = self
        copy.context[key] = value
        return copy
    }

    public func debug(_ message: @autoclosure () -> String, _ fields: [String: String] = [:]) {
        emit(.debug, message, fields)
    }
    public func info(_ message: @autoclosure () -> String, _ fields: [String: String] = [:]) {
        emit(.info, message, fields)
    }
    public func warning(_ message: @autoclosure () -> String, _ fields: [String: String] = [:]) {
        emit(.warning, message, fields)
    }
    public func error(_ message: @autoclosure () -> String, _ fields: [String: String] = [:]) {
        emit(.error, message, fields)
    }

    /// An error with its code and its hint as fields of their own.
    public func error(_ message: @autoclosure () -> String, _ error: FleetError, _ fields: [String: String] = [:]) {
        emit(.error, { "\(message()): \(error.message)" }, fields.merging(Self.fields(of: error)) { $1 })
    }

    private func emit(_ level: Level, _ message: () -> String, _ fields: [String: String]) {
        guard level >= self.level else { return }
        write(level, message(), context.merging(fields) { $1 })
    }
}

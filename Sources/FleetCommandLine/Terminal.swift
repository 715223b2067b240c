internal import CLinux
public import FleetSystem
private import Glibc

/// Standard output and error. Rules:
/// - What was asked for goes to standard output, everything about it to standard error.
/// - Colour only on a terminal, never with NO_COLOR set, and never as the only carrier of a meaning.
/// - Progress is redrawn on a terminal; elsewhere it is a plain line now and then.
/// - Text of others (names, errors) is printed without its control characters.
public struct Terminal: Sendable {
    public var outputIsTerminal: Bool
    public var errorIsTerminal: Bool
    public var color: Bool
    public var columns: Int
    private let write: @Sendable (Int32, String) -> Void
    private let writeBytes: @Sendable (Int32, [UInt8]) throws(FleetError) -> Void

    public init(
        outputIsTerminal: Bool, errorIsTerminal: Bool, color: Bool, columns: Int,
        writeBytes: (@Sendable (Int32, [UInt8]) throws(FleetError) -> Void)? = nil,
        write: @escaping @Sendable (Int32, String) -> Void
    ) {
        self.outputIsTerminal = outputIsTerminal
        self.errorIsTerminal = errorIsTerminal
        self.color = color
        self.columns = columns
        self.write = write
        self.writeBytes =
            writeBytes ?? { (descriptor, bytes) in write(descriptor, String(decoding: bytes, as: UTF8.self)) }
    }

    public static func standard() -> Terminal {
        let output = isatty(1) == 1
        // no-color.org: "when present and not an empty string".
        let noColor = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
        let dumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? false
        let columns = Int(fleet_terminal_columns(output ? 1 : 2))
        return Terminal(
            outputIsTerminal: output, errorIsTerminal: isatty(2) == 1, color: output && !noColor && !dumb,
            columns: columns > 0 ? columns : 100, writeBytes: Self.writeAll
        ) { descriptor, text in try? Self.writeAll(descriptor, Array(text.utf8)) }
    }

    private static let readerGone = FleetError.Code(rawValue: "reader-gone")

    private static let writeAll: @Sendable (Int32, [UInt8]) throws(FleetError) -> Void = {
        (descriptor, bytes) throws(FleetError) in
        Signals.brokenPipeIgnored
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count == 0 { return }
            if count < 0, errno == EPIPE { throw FleetError(readerGone, "write the output: nobody reads it") }
            if count < 0 { throw FleetError(errno: errno, "write the output") }
            rest = rest.dropFirst(count)
        }
    }

    /// A line of what was asked for.
    public func print(_ line: String) { write(1, Self.harmless(line) + "\n") }
    public func printRaw(_ text: String) { write(1, text) }
    /// The same for what is printed again and again.
    ///
    /// - Returns: false where nobody reads any more (| head): then it is over.
    public func printAgain(_ text: String) -> Bool {
        do throws(FleetError) { try writeBytes(1, Array(text.utf8)) } catch { return error.code != Self.readerGone }
        return true
    }
    /// Data that was asked for, as it is.
    ///
    /// - Throws: `no-space` and others: half of a file must not look whole.
    public func printBytes(_ bytes: [UInt8]) throws(FleetError) {
        do throws(FleetError) { try writeBytes(1, bytes) } catch {
            // A reader that went away (| head) wants no more; that is no error.
            guard error.code == Self.readerGone else { throw error }
        }
    }
    /// A line that must be seen, since nothing else will ever tell it.
    ///
    /// - Throws: also where nobody reads it.
    public func printSurely(_ line: String) throws(FleetError) {
        try writeBytes(1, Array((Self.harmless(line) + "\n").utf8))
    }
    /// A line about it.
    public func note(_ line: String) { write(2, Self.harmless(line) + "\n") }
    public func noteRaw(_ text: String) { write(2, text) }

    /// An error in one line, and what to do next in a second.
    public func error(_ error: FleetError) {
        note("\(paint("error", "1;31", on: errorIsTerminal)): \(Self.clean(error.message))")
        if let hint = error.hint { note("\(paint("hint", "1", on: errorIsTerminal)): \(Self.clean(hint))") }
    }

    /// Asks on the terminal; anything but yes is no, and so is the lack of a terminal.
    public func confirms(_ question: String) -> Bool {
        guard isatty(0) == 1 else { return false }
        noteRaw("\(question) [y/N] ")
        guard let answer = readLine(strippingNewline: true) else { return false }
        return ["y", "yes"].contains(answer.lowercased())
    }

    /// The next line of standard input; somebody who types it is told what is awaited.
    public func reads(_ what: String) -> String {
        if isatty(0) == 1 { noteRaw("\(what): ") }
        return readLine(strippingNewline: true) ?? ""
    }

    public func bold(_ text: String) -> String { paint(text, "1", on: outputIsTerminal) }
    public func green(_ text: String) -> String { paint(text, "32", on: outputIsTerminal) }
    public func red(_ text: String) -> String { paint(text, "31", on: outputIsTerminal) }
    public func yellow(_ text: String) -> String { paint(text, "33", on: outputIsTerminal) }

    private func paint(_ text: String, _ code: String, on terminal: Bool) -> String {
        color && terminal ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
    }

    /// Without any control characters but line ends and the colours of `paint`: whatever a command forgot to clean does
    /// not move the cursor, ring, retitle or write to the clipboard.
    static func harmless(_ text: String) -> String {
        var kept = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            if scalar == "\u{1b}", rest.first == "[" {
                let colour = rest.dropFirst().prefix { $0 == ";" || ("0"..."9").contains($0) }
                if rest.dropFirst(1 + colour.count).first == "m" {
                    kept.append(scalar)
                    continue
                }
            }
            let isControl = (scalar.value < 0x20 && scalar != "\n") || (0x7f..<0xa0).contains(scalar.value)
            kept.append(isControl ? " " : scalar)
        }
        return String(kept)
    }

    /// Without control characters, so that nobody's name or error steers the terminal.
    public static func clean(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) ? " " : $0 }))
    }
}

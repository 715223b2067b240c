internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// A report as it came: the bytes that are signed, what they say, and the signature.
struct SignedReport {
    let bytes: [UInt8]
    let report: AuditReport
    let envelope: Envelope
    var sha256: String { SHA256.hash(bytes).hex }

    init(bytes: [UInt8], envelope: Envelope) throws(FleetError) {
        self.bytes = bytes
        self.envelope = envelope
        report = try JSON.decode(AuditReport.self, from: bytes)
    }
}

enum ReportFormat: String, CaseIterable {
    case html, json, csv, md

    /// How a file names the program that wrote it: another may write the same data in another way. JSON is but the data.
    static let writer = "written by fleetctl "

    /// By the name of a file.
    init?(file: String) {
        guard let dot = file.lastIndex(of: ".") else { return nil }
        self.init(rawValue: String(file[file.index(after: dot)...]).lowercased())
    }

    /// The whole file: a pure function of the report, so that a file can be compared with what it should be.
    ///
    /// - Parameter writer: the version of fleetctl that it names.
    func render(_ signed: SignedReport, writer: String = FleetVersion.current) throws(FleetError) -> [UInt8] {
        let envelope = try Self.text(signed.envelope)
        switch self {
        case .html: return ReportHTML.render(signed, envelope: envelope, writer: writer)
        case .md: return Array(ReportMarkdown.render(signed, envelope: envelope, writer: writer).utf8)
        case .csv: return Array(ReportCSV.render(signed, envelope: envelope, writer: writer).utf8)
        case .json:
            return Array(Marks.json.begin.utf8) + signed.bytes + Array(Marks.json.middle.utf8) + Array(envelope.utf8)
                + Array(Marks.json.end.utf8)
        }
    }

    /// Compact, and without what would end the place that it stands in.
    static func text(_ envelope: Envelope) throws(FleetError) -> String {
        var text = ""
        for character in try JSON.text(envelope) {
            text += character == "<" ? #"\u003c"# : character == ">" ? #"\u003e"# : String(character)
        }
        return text
    }

    /// Around the data and its signature.
    struct Marks {
        var begin: String
        var middle: String
        var end: String

        static let json = Marks(begin: #"{"report":"#, middle: #","signature":"#, end: "}\n")
        static let html = Marks(
            begin: "\n<script type=\"application/json\" id=\"report\">",
            middle: "</script>\n<script type=\"application/json\" id=\"signature\">", end: "</script>\n")
        static let md = Marks(begin: "\n<!-- data of the report, signature below\n", middle: "\n", end: "\n-->\n")
    }
}

/// A report that was read from a file.
struct ReportFile {
    let format: ReportFormat
    let bytes: [UInt8]
    let envelope: Envelope
    /// The data that it holds; nil for CSV, which holds none.
    let signed: SignedReport?

    /// - Throws: `malformed` for what is no report, or one whose data can't be found any more.
    init(_ bytes: [UInt8]) throws(FleetError) {
        self.bytes = bytes
        if bytes.starts(with: ReportFormat.Marks.json.begin.utf8) {
            format = .json
        } else if bytes.starts(with: ReportHTML.opening.utf8) {
            format = .html
        } else if bytes.starts(with: ReportMarkdown.opening.utf8) {
            format = .md
        } else if bytes.starts(with: ReportCSV.opening.utf8) {
            format = .csv
        } else {
            throw Self.damaged("it does not begin as a report of fleetctl does")
        }
        let marks: ReportFormat.Marks
        switch format {
        case .json: marks = .json
        case .html: marks = .html
        case .md: marks = .md
        case .csv:
            envelope = try Self.envelope(try ReportCSV.signature(bytes))
            signed = nil
            return
        }
        guard let end = bytes.lastRange(of: Array(marks.end.utf8), before: bytes.count),
            let middle = bytes.lastRange(of: Array(marks.middle.utf8), before: end.lowerBound),
            let begin = format == .json
                ? 0..<marks.begin.utf8.count : bytes.lastRange(of: Array(marks.begin.utf8), before: middle.lowerBound),
            begin.upperBound <= middle.lowerBound
        else { throw Self.damaged("its data or its signature is missing") }
        envelope = try Self.envelope(Array(bytes[middle.upperBound..<end.lowerBound]))
        do throws(FleetError) {
            signed = try SignedReport(bytes: Array(bytes[begin.upperBound..<middle.lowerBound]), envelope: envelope)
        } catch { throw Self.damaged("its data can't be read: \(error.message)") }
    }

    /// The version of fleetctl that it says it was written by.
    var writer: String? {
        guard format != .json else { return FleetVersion.current }
        let mark = Array(ReportFormat.writer.utf8)
        guard let place = Array(bytes.prefix(600)).firstRange(of: mark) else { return nil }
        let name = bytes[place.upperBound...].prefix(40).prefix { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return String(decoding: name, as: UTF8.self)
    }

    private static func envelope(_ bytes: [UInt8]) throws(FleetError) -> Envelope {
        do throws(FleetError) { return try JSON.decode(Envelope.self, from: bytes) } catch {
            throw damaged("its signature can't be read")
        }
    }

    static func damaged(_ why: String) -> FleetError {
        FleetError(
            .malformed, "this is no whole report: \(why)",
            hint: "take another copy of it, or make it anew: fleetctl audit report")
    }
}

extension [UInt8] {
    /// The last place of `pattern` that ends at or before an index.
    fileprivate func lastRange(of pattern: [UInt8], before end: Int) -> Range<Int>? {
        guard let first = pattern.first else { return nil }
        var start = end - pattern.count
        while start >= 0 {
            if self[start] == first, self[start..<start + pattern.count].elementsEqual(pattern) {
                return start..<start + pattern.count
            }
            start -= 1
        }
        return nil
    }
}

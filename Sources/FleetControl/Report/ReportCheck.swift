internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// Whether a report is what the coordinator made, and the chain what it was made of. Pure: the coordinator's part comes in.
struct ReportCheck {
    /// One thing that was looked at.
    struct Finding: Codable, Equatable {
        var check: String
        /// nil: it could not be told.
        var isGood: Bool?
        var words: String
    }
    var findings: [Finding] = []
    var isGood: Bool { findings.allSatisfy { $0.isGood == true } }

    /// - Parameter remade: the report as it is made of the chain today; empty where the chain has other events.
    init(_ file: ReportFile, _ statement: ReportStatement, _ proof: ReportProof, remade: [UInt8]) throws(FleetError) {
        signature(file, proof)
        data(file, statement)
        // What nobody signed may hold anything: it is not put on a page.
        if isGood {
            // CSV holds no data, and is compared with what the events say today.
            let isRemade = SHA256.hash(remade).hex == statement.sha256
            let source = file.signed ?? (isRemade ? try? SignedReport(bytes: remade, envelope: file.envelope) : nil)
            try page(file, source)
        } else {
            add("page", nil, "what the file shows was not compared: its data is not what the coordinator signed")
        }
        chain(statement, proof)
        making(statement, proof)
        remaking(file, statement, remade, proof)
    }

    private mutating func add(_ check: String, _ isGood: Bool?, _ words: String) {
        findings.append(Finding(check: check, isGood: isGood, words: words))
    }

    private mutating func signature(_ file: ReportFile, _ proof: ReportProof) {
        do throws(FleetError) {
            guard let raw = [UInt8](base64: proof.key) else {
                throw FleetError(.protocolViolation, "the coordinator told no key of its own")
            }
            let key = try VerifyingKey(raw: raw)
            try file.envelope.checkReport(signedBy: key)
            add("signature", true, "signed by this coordinator, key \(key.id)")
        } catch { add("signature", false, error.message) }
    }

    private mutating func data(_ file: ReportFile, _ statement: ReportStatement) {
        guard let signed = file.signed else { return }
        let isSame = signed.sha256 == statement.sha256
        add(
            "data", isSame,
            isSame
                ? "the data in the file is what was signed, SHA-256 \(statement.sha256)"
                : "the data in the file was changed: its SHA-256 is \(signed.sha256), and what was signed has \(statement.sha256)"
        )
    }

    /// What is seen must be what the data says, to the last byte.
    private mutating func page(_ file: ReportFile, _ source: SignedReport?) throws(FleetError) {
        guard let source else {
            return add("page", nil, "what the file shows can't be compared: its data could not be made again")
        }
        let expected = try file.format.render(source, writer: file.writer ?? FleetVersion.current)
        if expected == file.bytes { return add("page", true, "the file shows what its data says, byte for byte") }
        if let writer = file.writer, writer != FleetVersion.current {
            return add(
                "page", nil,
                "what the page SHOWS was not checked; rely only on the embedded data: it says that fleetctl \(writer) wrote it, "
                    + "and this is \(FleetVersion.current); check it with a fleetctl of that version")
        }
        add("page", false, "the file was changed: \(ReportDifference.lines(file.bytes, expected))")
    }

    private mutating func chain(_ statement: ReportStatement, _ proof: ReportProof) {
        let place = "event \(statement.height)"
        switch proof.hash {
        case statement.head: add("chain", true, "the chain still has \(place) with the hash of then")
        case let hash?:
            add(
                "chain", false,
                "the chain was rewritten: \(place) had the hash \(statement.head) then, and has \(hash) now")
        case nil: add("chain", false, "the chain was cut or broken: \(place) is not reached any more")
        }
        if let broken = proof.verdict.firstBreak {
            add(
                "whole chain", false,
                "it is broken at event \(broken.sequence) (\(broken.kind.rawValue)): \(broken.message)")
        } else {
            add("whole chain", true, "it holds, \(proof.verdict.events) events, head \(proof.verdict.head)")
        }
    }

    private mutating func making(_ statement: ReportStatement, _ proof: ReportProof) {
        guard let making = proof.making else {
            return add("record", false, "no event behind \(statement.height) says that this report was made")
        }
        add("record", true, "made by \(making.actor) at \(making.time), event \(making.sequence)")
    }

    private mutating func remaking(
        _ file: ReportFile, _ statement: ReportStatement, _ remade: [UInt8], _ proof: ReportProof
    ) {
        guard !remade.isEmpty else {
            return add(
                "events", nil, "what the report says can't be made again: its events are not in the chain any more")
        }
        if SHA256.hash(remade).hex == statement.sha256 {
            return add("events", true, "made again of the \(statement.height) events it is the same, byte for byte")
        }
        guard proof.version == statement.version else {
            return add(
                "events", nil,
                "version \(proof.version) of the coordinator makes reports in another way than \(statement.version), which made "
                    + "this one: whether it says what the events say can't be told")
        }
        let difference = file.signed.flatMap {
            $0.sha256 == statement.sha256 ? ReportDifference.values($0.bytes, remade) : nil
        }
        add(
            "events", false,
            "the report does not say what its events say" + (difference.map { ": \($0)" } ?? ""))
    }
}

/// Where two reports differ first, in words.
enum ReportDifference {
    static func lines(_ found: [UInt8], _ expected: [UInt8]) -> String {
        let newline = UInt8(ascii: "\n")
        var (line, start, index) = (1, 0, 0)
        while index < found.count, index < expected.count, found[index] == expected[index] {
            if found[index] == newline { (line, start) = (line + 1, index + 1) }
            index += 1
        }
        if index == found.count { return "it ends in line \(line), and should go on" }
        if index == expected.count { return "it goes on behind line \(line), where it should end" }
        // Some of what is in front, so that a person finds the place.
        let from = max(start, index - 40)
        func excerpt(_ bytes: [UInt8]) -> String {
            let piece = bytes[min(from, bytes.count)...].prefix { $0 != newline }.prefix(100)
            return ReportText.plain(String(decoding: piece, as: UTF8.self))
        }
        return "line \(line) has \"\(excerpt(found))\", where the data says \"\(excerpt(expected))\""
    }

    /// nil where they are the same values.
    static func values(_ found: [UInt8], _ expected: [UInt8]) -> String? {
        guard let a = try? JSON.decode(JSONValue.self, from: found),
            let b = try? JSON.decode(JSONValue.self, from: expected)
        else { return nil }
        return difference(a, b, "")
    }

    private static func difference(_ found: JSONValue, _ expected: JSONValue, _ path: String) -> String? {
        guard found != expected else { return nil }
        switch (found, expected) {
        case (.object(let a), .object(let b)):
            for key in Set(a.keys).union(b.keys).sorted() {
                if let words = difference(a[key] ?? .null, b[key] ?? .null, path.isEmpty ? key : "\(path).\(key)") {
                    return words
                }
            }
        case (.list(let a), .list(let b)):
            for index in 0..<max(a.count, b.count) {
                let (x, y) = (index < a.count ? a[index] : .null, index < b.count ? b[index] : .null)
                if let words = difference(x, y, "\(path)[\((index < b.count ? y : x).name ?? "\(index)")]") {
                    return words
                }
            }
        default: break
        }
        return "\(path): the report says \(found.words), the events say \(expected.words)"
    }
}

/// Any JSON.
enum JSONValue: Decodable, Equatable {
    case null
    case flag(Bool)
    case number(Int64)
    case text(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let number = try? value.decode(Int64.self) {
            self = .number(number)
        } else if let flag = try? value.decode(Bool.self) {
            self = .flag(flag)
        } else if let list = try? value.decode([JSONValue].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSONValue].self))
        }
    }

    /// By which a person knows a row.
    var name: String? {
        guard case .object(let fields) = self else { return nil }
        for key in ["date", "name", "snapshot", "id", "job", "sequence"] {
            switch fields[key] {
            case .text(let text): return text
            case .number(let number): return "\(number)"
            default: continue
            }
        }
        return nil
    }

    var words: String {
        switch self {
        case .null: "nothing"
        case .flag(let flag): "\(flag)"
        case .number(let number): "\(number)"
        case .text(let text): "\"\(ReportText.plain(String(text.prefix(100))))\""
        case .list(let list): ReportText.count(list.count, "row")
        case .object(let fields): name.map { "\"\($0)\"" } ?? ReportText.count(fields.count, "field")
        }
    }
}

private import CYAML
internal import FleetSystem

/// One event of libyaml with its strings copied out and its marks turned into byte offsets.
struct YAMLEvent {
    enum Kind {
        case documentStart, documentEnd, streamEnd, other
        case alias(String)
        case scalar(YAMLScalar)
        case sequenceStart, sequenceEnd, mappingStart, mappingEnd
    }
    var kind: Kind
    var anchor: String?
    var tag: String?
    var range: Range<Int>
    var line: Int
    var column: Int
}

/// The event stream of a file. Owns libyaml's parser, which keeps a pointer into `text`.
struct YAMLEvents: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let text: UnsafeMutableBufferPointer<UInt8>
    /// libyaml's marks count characters: byte offset of each character, and of the end.
    private let offsets: [Int]
    private let file: String

    init(_ bytes: [UInt8], file: String) throws(FleetError) {
        // With the encoding set, libyaml takes a byte order mark for a character of its own; it is skipped here.
        let skipped = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        self.file = file
        text = .allocate(capacity: max(1, bytes.count - skipped))
        _ = text.update(fromContentsOf: bytes[skipped...])
        var offsets: [Int] = []
        offsets.reserveCapacity(bytes.count + 1)
        for (offset, byte) in bytes.enumerated() where offset >= skipped && byte & 0xC0 != 0x80 {
            offsets.append(offset)
        }
        self.offsets = offsets + [bytes.count]
        parser = .allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            throw FleetError(.internalError, "libyaml cannot allocate a parser")
        }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, text.baseAddress, bytes.count - skipped)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
        text.deallocate()
    }

    mutating func next() throws(FleetError) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxError() }
        defer { yaml_event_delete(&event) }
        var result = YAMLEvent(
            kind: .other, range: offset(event.start_mark)..<max(offset(event.start_mark), offset(event.end_mark)),
            line: Int(event.start_mark.line) + 1, column: Int(event.start_mark.column) + 1)
        switch event.type {
        case YAML_STREAM_END_EVENT: result.kind = .streamEnd
        case YAML_DOCUMENT_START_EVENT: result.kind = .documentStart
        case YAML_DOCUMENT_END_EVENT: result.kind = .documentEnd
        case YAML_ALIAS_EVENT: result.kind = .alias(string(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let data = event.data.scalar
            let value = String(decoding: UnsafeBufferPointer(start: data.value, count: data.length), as: UTF8.self)
            result.kind = .scalar(YAMLScalar(value: value, style: style(data.style)))
            (result.anchor, result.tag) = (string(data.anchor), string(data.tag))
        case YAML_SEQUENCE_START_EVENT:
            result.kind = .sequenceStart
            (result.anchor, result.tag) = (
                string(event.data.sequence_start.anchor), string(event.data.sequence_start.tag)
            )
        case YAML_SEQUENCE_END_EVENT: result.kind = .sequenceEnd
        case YAML_MAPPING_START_EVENT:
            result.kind = .mappingStart
            (result.anchor, result.tag) = (
                string(event.data.mapping_start.anchor), string(event.data.mapping_start.tag)
            )
        case YAML_MAPPING_END_EVENT: result.kind = .mappingEnd
        default: break
        }
        return result
    }

    private func offset(_ mark: yaml_mark_t) -> Int { offsets[min(Int(mark.index), offsets.count - 1)] }

    private func string(_ pointer: UnsafeMutablePointer<UInt8>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    private func style(_ style: yaml_scalar_style_t) -> YAMLScalar.Style {
        switch style {
        case YAML_SINGLE_QUOTED_SCALAR_STYLE: .singleQuoted
        case YAML_DOUBLE_QUOTED_SCALAR_STYLE: .doubleQuoted
        case YAML_LITERAL_SCALAR_STYLE: .literal
        case YAML_FOLDED_SCALAR_STYLE: .folded
        default: .plain
        }
    }

    private func syntaxError() -> FleetError {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "not YAML"
        // A reader error (bad UTF-8) has an offset and no mark.
        let line =
            parser.pointee.error == YAML_READER_ERROR
            ? text.prefix(Int(parser.pointee.problem_offset)).count { $0 == UInt8(ascii: "\n") } + 1
            : Int(parser.pointee.problem_mark.line) + 1
        return FleetError(.yamlSyntax, "\(file):\(line): \(problem)", hint: "correct \(file) at line \(line)")
    }
}

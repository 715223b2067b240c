/// Text of which every byte knows the file it was read from. Quotes are removed, variables expanded and words split
/// with it, and at the end a value still tells which bytes of which file have to change to change it.
struct TracedText: Sendable, Equatable {
    struct Place: Sendable, Equatable {
        var file: String
        var line: Int
        /// The byte in the file; nil where the text differs from what is written there (an escape, a specifier).
        var offset: Int?
    }
    struct Byte: Sendable, Equatable {
        var value: UInt8
        var place: Place?
    }

    var bytes: [Byte] = []

    init(_ bytes: some Sequence<Byte>) { self.bytes = Array(bytes) }

    /// Text that is written in no file.
    init(_ text: String, at place: Place? = nil) { bytes = text.utf8.map { Byte(value: $0, place: place) } }

    /// A whole file, or a part of it.
    init(file: String, _ contents: [UInt8], _ range: Range<Int>? = nil, line first: Int = 1) {
        var line = first
        bytes.reserveCapacity(contents.count)
        for offset in range ?? contents.indices {
            bytes.append(Byte(value: contents[offset], place: Place(file: file, line: line, offset: offset)))
            if contents[offset] == UInt8(ascii: "\n") { line += 1 }
        }
    }

    var text: String { String(decoding: bytes.map(\.value), as: UTF8.self) }
    var isEmpty: Bool { bytes.isEmpty }
    /// The first place that is known: the line to name.
    var place: Place? { bytes.lazy.compactMap(\.place).first }

    /// The bytes of one file that are this text, exactly and in one piece; nil where it was put together.
    var range: Range<Int>? {
        guard let first = bytes.first?.place, let start = first.offset else { return nil }
        for (index, byte) in bytes.enumerated() {
            guard byte.place?.file == first.file, byte.place?.offset == start + index else { return nil }
        }
        return start..<start + bytes.count
    }

    subscript(_ range: Range<Int>) -> TracedText { TracedText(bytes[range]) }

    func hasPrefix(_ prefix: String) -> Bool { bytes.lazy.map(\.value).starts(with: prefix.utf8) }

    func firstIndex(of byte: UInt8) -> Int? { bytes.firstIndex { $0.value == byte } }

    static func + (a: TracedText, b: TracedText) -> TracedText { TracedText(a.bytes + b.bytes) }

    /// Without blanks at both ends.
    var trimmed: TracedText {
        let isBlank: (Byte) -> Bool = { [0x20, 0x09, 0x0D, 0x0A].contains($0.value) }
        guard let start = bytes.firstIndex(where: { !isBlank($0) }), let end = bytes.lastIndex(where: { !isBlank($0) })
        else { return TracedText("") }
        return TracedText(bytes[start...end])
    }
}

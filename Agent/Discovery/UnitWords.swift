/// systemd's word splitting (`extract_first_word` with unquoting and C escapes): blanks part words, quotes may open
/// anywhere, and a backslash means the same inside both kinds of quotes.
enum UnitWords {
    static func split(_ text: TracedText) -> [TracedText] {
        var words: [TracedText] = []
        var current = TracedText("")
        var started = false
        var quote: UInt8?
        var index = 0
        let bytes = text.bytes
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            switch byte.value {
            case UInt8(ascii: "\\"):
                started = true
                let (value, length) = escape(bytes[index...])
                if let value {
                    let place = byte.place.map { TracedText.Place(file: $0.file, line: $0.line) }
                    current.bytes += value.map { .init(value: $0, place: place) }
                    index += length
                } else {
                    current.bytes.append(byte)
                }
            case let c where c == quote: quote = nil
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                if quote == nil {
                    quote = byte.value
                    started = true
                } else {
                    current.bytes.append(byte)
                }
            case 0x20, 0x09, 0x0A, 0x0D:
                if quote != nil {
                    current.bytes.append(byte)
                } else if started {
                    words.append(current)
                    (current, started) = (TracedText(""), false)
                }
            default:
                current.bytes.append(byte)
                started = true
            }
        }
        if started { words.append(current) }
        return words
    }

    /// What follows a backslash: its bytes and how many it took; nil where it is no escape and stays as it stands.
    private static func escape(_ rest: ArraySlice<TracedText.Byte>) -> ([UInt8]?, Int) {
        guard let c = rest.first?.value else { return (nil, 0) }
        let simple: [UInt8: UInt8] = [
            UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
            UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11, UInt8(ascii: "s"): 32,
            UInt8(ascii: "\\"): UInt8(ascii: "\\"), UInt8(ascii: "\""): UInt8(ascii: "\""),
            UInt8(ascii: "'"): UInt8(ascii: "'"),
        ]
        if let value = simple[c] { return ([value], 1) }
        func digits(_ skip: Int, _ count: Int, _ radix: Int) -> UInt32? {
            let text = String(decoding: rest.dropFirst(skip).prefix(count).map(\.value), as: UTF8.self)
            return text.utf8.count == count ? UInt32(text, radix: radix) : nil
        }
        if c == UInt8(ascii: "x"), let value = digits(1, 2, 16) { return ([UInt8(value)], 3) }
        if c == UInt8(ascii: "u"), let value = digits(1, 4, 16), let scalar = UnicodeScalar(value) {
            return (Array(String(Character(scalar)).utf8), 5)
        }
        if let value = digits(0, 3, 8), value < 256 { return ([UInt8(value)], 3) }
        return (nil, 0)
    }
}

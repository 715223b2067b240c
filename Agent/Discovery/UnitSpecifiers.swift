internal import FleetSystem

/// systemd's `%` specifiers (systemd.unit(5)) of a system service.
struct UnitSpecifiers: Sendable {
    var unit: String
    var fragment: String
    /// `%H`; the node's own name, which for a copy of a node is in its /etc/hostname.
    var hostName: String
    var machineID: String

    /// - Throws: `setting-unresolved` for one whose value is known only to systemd.
    func expand(_ text: TracedText) throws(FleetError) -> TracedText {
        var result = TracedText("")
        var index = 0
        while index < text.bytes.count {
            let byte = text.bytes[index]
            index += 1
            guard byte.value == UInt8(ascii: "%"), index < text.bytes.count else {
                result.bytes.append(byte)
                continue
            }
            let letter = Character(UnicodeScalar(text.bytes[index].value))
            index += 1
            guard let value = value(letter) else {
                let place = byte.place.map { "\($0.file):\($0.line): " } ?? ""
                throw FleetError(
                    .settingUnresolved, "\(place)the specifier %\(letter) is known only to systemd",
                    hint: "write the value itself in \(unit)")
            }
            result = result + TracedText(value, at: byte.place.map { .init(file: $0.file, line: $0.line) })
        }
        return result
    }

    private var stem: String { String(unit.prefix(upTo: unit.lastIndex(of: ".") ?? unit.endIndex)) }
    private var prefix: String { stem.split(separator: "@", maxSplits: 1).first.map(String.init) ?? stem }
    private var instance: String {
        let parts = stem.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? String(parts[1]) : ""
    }

    private func value(_ letter: Character) -> String? {
        switch letter {
        case "%": "%"
        case "n": unit
        case "N": stem
        case "p": prefix
        case "P": unescaped(prefix)
        case "i": instance
        case "I": unescaped(instance)
        case "j": prefix.split(separator: "-").last.map(String.init) ?? prefix
        case "J": unescaped(prefix.split(separator: "-").last.map(String.init) ?? prefix)
        case "f": "/" + unescaped(instance.isEmpty ? prefix : instance)
        case "H": hostName
        case "l": hostName.split(separator: ".").first.map(String.init) ?? hostName
        case "m": machineID
        case "y": fragment
        case "Y": FileSystem.parent(of: fragment)
        case "t": "/run"
        case "S": "/var/lib"
        case "C": "/var/cache"
        case "L": "/var/log"
        case "E": "/etc"
        case "T": "/tmp"
        case "V": "/var/tmp"
        case "h": "/root"
        case "u": "root"
        case "U": "0"
        default: nil
        }
    }

    /// `systemd-escape --unescape`: "-" is "/", "\x2d" is "-".
    private func unescaped(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let c = rest.popFirst() {
            if c == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "x"), rest.count >= 3,
                let value = UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(c == UInt8(ascii: "-") ? UInt8(ascii: "/") : c)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

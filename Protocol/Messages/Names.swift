public import FleetSystem

/// Names that people choose: clusters, nodes, operators. They appear in file names, certificates and terminals, so
/// only what is harmless in all of them is let in.
public enum Names {
    /// 1 to 63 of a-z, 0-9, '-' and '.', with a letter or a digit first and last: a DNS label or a short host name.
    public static func isValid(_ name: String) -> Bool {
        func plain(_ c: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(c) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c)
        }
        guard (1...63).contains(name.utf8.count), plain(name.utf8.first!), plain(name.utf8.last!) else { return false }
        return name.utf8.allSatisfy { plain($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    }

    /// Foreign text as an error repeats it: quoted, control characters escaped, 100 bytes of it at most.
    public static func quote(_ text: String) -> String {
        guard text.utf8.count > 100 else { return text.debugDescription }
        return String(decoding: text.utf8.prefix(100), as: UTF8.self).debugDescription + "..."
    }

    public static func check(_ name: String, _ what: String) throws(FleetError) {
        guard isValid(name) else {
            throw FleetError(
                .malformed, "\(what) name is not valid: \(quote(name))",
                hint: "use 1 to 63 lower-case letters, digits, '-' and '.', with a letter or digit first and last")
        }
    }
}

/// Ids of snapshots and jobs: the UTC second and four random characters, "20261124-065510-k3f9". They sort as time
/// does, can be read aloud, and a unique prefix is enough to name one.
public enum Identifier {
    public static func make(at time: Timestamp) -> String { "\(time.compact)-\(Randomness.token(4))" }

    /// What may be a file name in the store: only the alphabet of ids, never a path.
    public static func isValid(_ id: String) -> Bool {
        (1...64).contains(id.utf8.count) && id.utf8.first != UInt8(ascii: "-")
            && id.utf8.allSatisfy { c in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(c)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c) || c == UInt8(ascii: "-")
            }
    }
}

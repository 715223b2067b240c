import FleetSystem

/// The parts of a compiled time zone (RFC 8536) that say what a clock on the wall shows: the moments at which its distance
/// from UTC changes, and the rule for the time behind the last of them.
///
/// The C library reads these files too, but only for the one zone of its process's environment.
struct ZoneFile: Sendable, Equatable {
    struct Transition: Sendable, Equatable {
        /// Seconds since 1970, UTC.
        var time: Int64
        /// Seconds east of UTC from then on.
        var offset: Int
    }

    /// Before the first transition.
    var firstOffset: Int
    /// By time.
    var transitions: [Transition]
    /// Behind the last transition; nil where its offset stays for good.
    var rule: ZoneRule?

    /// - Throws: `malformed`.
    init(_ bytes: [UInt8]) throws(FleetError) {
        var reader = Reader(bytes: bytes)
        var counts = try reader.header()
        if counts.version >= 2 {
            // The first block is for readers that know 32 bits only.
            try reader.skip(counts.blockSize(timeBytes: 4))
            counts = try reader.header()
        }
        let wide = counts.version >= 2
        let times = try reader.times(counts.times, bytes: wide ? 8 : 4)
        let indices = try reader.take(counts.times)
        var offsets: [Int] = []
        for _ in 0..<counts.types {
            offsets.append(Int(Int32(truncatingIfNeeded: try reader.number(bytes: 4))))
            try reader.skip(2)
        }
        guard let first = offsets.first else { throw Self.malformed("it has no local time type") }
        try reader.skip(counts.designationBytes + counts.leaps * (wide ? 12 : 8) + counts.standards + counts.universals)
        firstOffset = first
        transitions = []
        for (time, index) in zip(times, indices) {
            guard Int(index) < offsets.count else { throw Self.malformed("a transition is of no type") }
            if let last = transitions.last, last.time >= time {
                throw Self.malformed("its transitions are not in order")
            }
            transitions.append(Transition(time: time, offset: offsets[Int(index)]))
        }
        guard wide else { return }
        let footer = String(decoding: try reader.footer(), as: UTF8.self)
        rule = footer.isEmpty ? nil : try ZoneRule(footer)
    }

    static func malformed(_ reason: String) -> FleetError {
        FleetError(
            .malformed, "a time zone's file can't be read: \(reason)", hint: "reinstall the system's package tzdata")
    }

    private struct Counts {
        var version: Int
        var universals, standards, leaps, times, types, designationBytes: Int

        func blockSize(timeBytes: Int) -> Int {
            times * (timeBytes + 1) + types * 6 + designationBytes + leaps * (timeBytes + 4) + standards + universals
        }
    }

    private struct Reader {
        var bytes: [UInt8]
        var position = 0

        mutating func take(_ count: Int) throws(FleetError) -> ArraySlice<UInt8> {
            guard count >= 0, bytes.count - position >= count else { throw ZoneFile.malformed("it is too short") }
            defer { position += count }
            return bytes[position..<position + count]
        }

        mutating func skip(_ count: Int) throws(FleetError) { _ = try take(count) }

        /// Big-endian, with its sign.
        mutating func number(bytes count: Int) throws(FleetError) -> Int64 {
            let value = try take(count).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return count == 8 ? Int64(bitPattern: value) : Int64(Int32(truncatingIfNeeded: value))
        }

        mutating func times(_ count: Int, bytes: Int) throws(FleetError) -> [Int64] {
            var times: [Int64] = []
            for _ in 0..<count { times.append(try number(bytes: bytes)) }
            return times
        }

        mutating func header() throws(FleetError) -> Counts {
            guard try take(4).elementsEqual("TZif".utf8) else { throw ZoneFile.malformed("it is none") }
            // "2" and up; none for the first.
            let version = Int(try take(1).first ?? 0)
            try skip(15)
            var counts: [Int] = []
            for _ in 0..<6 {
                let count = Int(try number(bytes: 4))
                // No zone has a hundredth of this; what is read stays small whatever a file says.
                guard (0...100_000).contains(count) else { throw ZoneFile.malformed("a count is out of range") }
                counts.append(count)
            }
            return Counts(
                version: version == 0 ? 1 : version - 48, universals: counts[0], standards: counts[1],
                leaps: counts[2], times: counts[3], types: counts[4], designationBytes: counts[5])
        }

        mutating func footer() throws(FleetError) -> ArraySlice<UInt8> {
            guard try take(1).first == 10, let end = bytes[position...].firstIndex(of: 10) else {
                throw ZoneFile.malformed("its footer is missing")
            }
            return try take(end - position)
        }
    }
}

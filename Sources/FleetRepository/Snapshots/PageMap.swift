import FleetSystem

/// Where each page of a snapshot is, by position. Packs are numbers in a table that goes with the map.
typealias PageMap = ContiguousArray<PageLocation>

/// Maps as bytes: a list of runs, each either "as in the predecessor at the same positions" or "these pages of a pack,
/// one after the other". Since few pages change, and what is stored together was mostly adjacent, a map costs a few
/// bytes for a run.
enum PageMapCodec {
    /// Runs of `map` from `start` on. `parent` has its locations in the same table; nil stands alone.
    static func encode(_ map: PageMap, from start: Int = 0, parent: PageMap?, _ out: inout ByteWriter) {
        var position = start
        var last = PageLocation(pack: 0, ordinal: 0)
        while position < map.count {
            let begin = position
            if let parent, position < parent.count, parent[position] == map[position] {
                while position < map.count, position < parent.count, parent[position] == map[position] { position += 1 }
                out.varint((position - begin) << 1)
                continue
            }
            let first = map[position]
            position += 1
            while position < map.count, map[position].pack == first.pack,
                Int(map[position].ordinal) == Int(first.ordinal) + position - begin
            {
                // A page that the predecessor has there ends the run only if that is worth an operation.
                if let parent, position < parent.count, parent[position] == map[position] { break }
                position += 1
            }
            out.varint((position - begin) << 1 | 1)
            out.signed(Int(first.pack) - Int(last.pack))
            out.signed(Int(first.ordinal) - Int(last.ordinal))
            last = PageLocation(pack: first.pack, ordinal: first.ordinal &+ UInt32(position - begin))
        }
    }

    /// Appends runs to `map` until it has `count` pages.
    static func decode(
        _ input: inout ByteReader, to map: inout PageMap, count: Int, parent: PageMap?, packs: Int
    ) throws(FleetError) {
        var last = PageLocation(pack: 0, ordinal: 0)
        while map.count < count {
            let operation = try input.count()
            let length = operation >> 1
            guard length > 0, length <= count - map.count else { throw damaged("a run of the page map is too long") }
            if operation & 1 == 0 {
                guard let parent, map.count + length <= parent.count else {
                    throw damaged("the page map refers to pages that its predecessor does not have")
                }
                map.append(contentsOf: parent[map.count..<(map.count + length)])
                continue
            }
            let pack = Int(last.pack) &+ (try input.signed())
            let ordinal = Int(last.ordinal) &+ (try input.signed())
            guard (0..<packs).contains(pack), ordinal >= 0, ordinal + length < 1 << 32 else {
                throw damaged("the page map refers to a pack that is not named")
            }
            for i in 0..<length { map.append(PageLocation(pack: UInt32(pack), ordinal: UInt32(ordinal + i))) }
            last = PageLocation(pack: UInt32(pack), ordinal: UInt32(ordinal + length))
        }
    }
}

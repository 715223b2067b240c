private import Glibc

extension FileSystem {
    /// A regular file as it is at one moment: what its bytes are, and what the very file that they were read from is. The last
    /// component is no link that is followed; what is no regular file is not waited for.
    ///
    /// - Returns: no bytes where there are more than `limit`.
    /// - Throws: `malformed` for what is no regular file, `busy` where it changed while it was read.
    public static func readPlain(_ path: String, limit: Int) throws(FleetError) -> (bytes: [UInt8]?, status: Status) {
        let file = try Descriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
        let before = try file.status()
        guard before.kind == .file else { throw FleetError(.malformed, "\(path) is no regular file") }
        guard before.size <= limit else { return (nil, before) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = try file.read(into: &chunk)
            if count == 0 { break }
            guard bytes.count + count <= limit else { return (nil, before) }
            bytes += chunk[..<count]
        }
        let after = try file.status()
        guard after == before, Int64(bytes.count) == after.size else {
            throw FleetError("busy", "\(path) changed while it was read", retryable: true)
        }
        return (bytes, after)
    }
}

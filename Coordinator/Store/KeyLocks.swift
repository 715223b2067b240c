import FleetSystem

/// One at a time for each key; those of other keys don't wait. Its functions block.
final class KeyLocks: Sendable {
    private struct Entry {
        let lock = Monitor<Void>(())
        var users = 0
    }
    private let entries = Monitor<[String: Entry]>([:])

    /// Not to be entered again by `body` with the same key.
    func holding<Value: Sendable>(
        _ key: String, _ body: () throws(FleetError) -> Value
    ) throws(FleetError) -> Value {
        let lock = entries.withLock { entries in
            entries[key, default: Entry()].users += 1
            return entries[key]!.lock
        }
        defer {
            // The last one takes it away, so that keys of years ago take no memory.
            entries.withLock { entries in
                entries[key]!.users -= 1
                if entries[key]!.users == 0 { entries[key] = nil }
            }
        }
        return try lock.attempt { _ throws(FleetError) in try body() }
    }
}

import FleetSystem

/// Packs that somebody reads or refers to, which must not be collected meanwhile.
final class PackHolds: Sendable {
    private let state = Monitor<(next: Int, held: [Int: Set<PackID>])>((0, [:]))

    func hold(_ packs: some Sequence<PackID>) -> PackHold {
        let set = Set(packs)
        let number = state.withLock { state in
            state.next += 1
            state.held[state.next] = set
            return state.next
        }
        return PackHold { [self] in state.withLock { $0.held[number] = nil } }
    }

    var all: Set<PackID> { state.withLock { $0.held.values.reduce(into: Set()) { $0.formUnion($1) } } }
}

/// Ends when it is let go.
final class PackHold: Sendable {
    private let release: @Sendable () -> Void
    init(_ release: @escaping @Sendable () -> Void) { self.release = release }
    deinit { release() }
}

/// How many labs are up at once: with all of them, a machine of two cores boots nodes for minutes, and what has to react
/// within a time is late. A test that waits for its turn needs a time limit that bears it.
actor LabPlaces {
    static let shared = LabPlaces(count: 5)

    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(count: Int) { free = count }

    func take() async {
        guard free == 0 else {
            free -= 1
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    func giveBack() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}

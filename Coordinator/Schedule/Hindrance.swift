import FleetProtocol
import FleetSystem

/// Why what is due has not begun, where nobody has tried yet.
enum Hindrance: Sendable, Equatable {
    /// So many of its kind and policy are open, and no more may be.
    case turn(policy: String, open: Int)
    /// A job of its cluster is open.
    case job(String)
    /// The other task of its cluster is due too, and goes first.
    case other(ScheduledTask.Kind)
    /// No window was open any more when it could have begun; the next opens then.
    case window(Timestamp)

    /// In words, and what to do about it.
    var reason: FleetError {
        switch self {
        case .turn(let policy, let open):
            FleetError(
                .limit, "it waits for its turn: \(open) of policy \(policy) \(open == 1 ? "is" : "are") under way",
                hint:
                    "'fleetctl job list' shows them; how many may be at once: fleetctl policy set \(policy) --parallel N"
            )
        case .job(let job):
            FleetError(
                .busy, "another job of the cluster is under way: \(job)", hint: "see: fleetctl job show \(job)")
        case .other(let kind):
            FleetError(.busy, "the \(kind.rawValue) of the cluster goes first")
        case .window(let opens):
            FleetError(
                .busy, "its window closed before it could begin, and the next opens \(opens.short)",
                hint: "'fleetctl backup' and 'fleetctl drill' wait for no window")
        }
    }
}

/// A task that is due and is held back.
struct HeldTask: Sendable, Equatable {
    var task: ScheduledTask
    var due: Timestamp
    var hindrance: Hindrance
}

/// What is held back, and since when nothing has moved for it. Pure.
struct TaskQueue: Sendable, Equatable {
    struct Place: Sendable, Equatable {
        var held: HeldTask
        /// Since when it stands; of one that waits for its turn, since one of its policy last began: a queue that moves is as it
        /// should be.
        var since: Timestamp
    }
    /// So long a place is as it should be: other jobs take their time.
    static let patience = Duration.seconds(3600)

    private(set) var places: [ScheduledTask: Place] = [:]

    /// - Parameter moved: the policies and kinds of which something has begun.
    mutating func update(_ held: [HeldTask], moved: Set<Planner.Slot>, now: Timestamp) {
        var next: [ScheduledTask: Place] = [:]
        for one in held {
            var since = min(places[one.task]?.since ?? now, now)
            if case .turn(let policy, _) = one.hindrance,
                moved.contains(Planner.Slot(policy: policy, kind: one.task.kind))
            {
                since = now
            }
            next[one.task] = Place(held: one, since: since)
        }
        places = next
    }
}

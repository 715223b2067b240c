import FleetProtocol
import FleetSystem

/// What goes into a replacement, what its state is folded from, and what comes out of it.
extension ReplaceTransaction {
    struct Order: Codable, Sendable, Equatable {
        var cluster: String
        /// Of the member that is replaced.
        var node: String
        /// Of the others, as far as their agents are there.
        var others: [String]
        var dryRun: Bool
        var waitSeconds: Int
        /// Of each act's job until it is begun.
        var lifetimeSeconds: Int
    }

    enum Verdict: String, Codable, Sendable { case succeeded, failed, stuck }

    /// How an act ended.
    struct End: Codable, Sendable, Equatable {
        var error: FleetError?
        var report: MemberReport?
        /// Nothing is wrong but that the agent, or its word, was lost in the middle.
        var isCut = false
        /// The agent says that it has not begun it.
        var isUntouched = false
    }

    enum Record: Codable, Sendable, Equatable {
        /// Acts with the same number go on at the same time.
        case assigned(job: String, node: String, Operation.Act, batch: Int)
        case ended(job: String, End)
        case decided(ReplaceCourse)
        case concluded(Verdict, FleetError?)
    }

    enum Action: Sendable, Equatable {
        /// Make a job of each, write `assigned`, apply, ask again.
        case assign([Assignment])
        case write(Record)
        case wait
        case end(Verdict, FleetError?)
    }

    struct Assignment: Sendable, Equatable {
        var node: String
        var act: Operation.Act
    }
}

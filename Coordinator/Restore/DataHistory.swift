import FleetProtocol
import FleetSystem

/// Whether what a cluster has now goes on from a snapshot: restores and their undoing make of its history a tree, and the
/// newest backup may be on a branch that was left. All times are the coordinator's. Pure.
enum DataHistory {
    /// A restore or undo that has put other data in force.
    struct Switch: Sendable, Equatable {
        var job: String
        var undoes: String?
        var snapshot: String
        /// When the save of `snapshot` was begun; nil where that is none of this cluster's, or not known any more.
        var origin: Timestamp?
        /// Of several members: when it was committed.
        var finished: Timestamp
    }

    /// Walks back from what is in force: behind an undo lies what was there before its restore, behind a restore what its
    /// snapshot was saved of.
    ///
    /// - Parameters:
    ///   - begun: when the save of `snapshot` was begun. A cluster is never backed up and switched at once.
    ///   - switches: in the order in which they ended; those that ended before `begun` change nothing.
    /// - Returns: the last of them, where it led away from the snapshot; nil where what is in force goes on from it.
    static func departure(from snapshot: String, begun: Timestamp, among switches: [Switch]) -> Departure? {
        var left = switches.filter { $0.finished > begun }
        while let last = left.popLast() {
            let departure = Departure(
                job: last.job, undoes: last.undoes, snapshot: last.snapshot, time: last.finished)
            if let undone = last.undoes {
                // Saved behind the restore that was undone.
                guard let place = left.firstIndex(where: { $0.job == undone }) else { return departure }
                left.removeSubrange(place...)
            } else if last.snapshot == snapshot {
                return nil
            } else {
                guard let origin = last.origin, begun <= origin else { return departure }
                left.removeAll { $0.finished > origin }
            }
        }
        return nil
    }
}

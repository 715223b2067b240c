internal import FleetSystem
private import Glibc

/// Waits on a thread that may block, never longer than it is told.
enum Waiting {
    /// Asks `condition` twice a second.
    ///
    /// - Returns: whether it became true in time.
    static func until(_ seconds: Int, _ condition: () throws(FleetError) -> Bool) throws(FleetError) -> Bool {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            if try condition() { return true }
            if ContinuousClock.now >= deadline { return false }
            usleep(500_000)
        }
    }
}

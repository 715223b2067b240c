internal import FleetSystem
private import Glibc

/// Waits on a thread that may block, never longer than it is told.
enum Waiting {
    /// Reads again twice a second while that fails for a reason that may pass, as in an election; any other failure is
    /// final, and so is the first one behind the deadline.
    static func persistently<T>(
        until deadline: ContinuousClock.Instant, _ read: () throws(FleetError) -> T
    ) throws(FleetError) -> T {
        while true {
            do throws(FleetError) { return try read() } catch {
                guard error.isRetryable, ContinuousClock.now < deadline else { throw error }
            }
            usleep(500_000)
        }
    }

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

import FleetSystem

/// What a clock has dated that was ahead for a while. Nothing tells how old it is, and it is younger than all that comes for as
/// long as that time is not there; so it is never the newest while there is another.
extension Catalogue {
    /// What is dated later is dated ahead. Clocks of nodes are believed for less.
    var soon: Timestamp { now.adding(.seconds(600)) }

    /// SQL for the id of the newest backup of `cluster` that can be restored, where `soon` is that moment. Two looks into an
    /// index, of which the second is rarely taken: sorted by both, each snapshot would be read.
    static func newestBackup(of cluster: String, soon: String) -> String {
        func newest(_ condition: String) -> String {
            """
            (SELECT n.id FROM snapshots n WHERE n.cluster = \(cluster) AND n.condition = 'verified' AND \(condition)
                AND json_extract(n.record, '$.beforeRestore') IS NULL ORDER BY n.saved DESC, n.id DESC LIMIT 1)
            """
        }
        return "coalesce(\(newest("n.saved <= \(soon)")), \(newest("n.saved > \(soon)")))"
    }
}

import FleetProtocol
import FleetSystem

/// How large the store is, as the audit report tells it day by day: a report is made of events alone.
extension Catalogue {
    private static let sizedSetting = "store_sized"

    /// An event once a UTC day.
    ///
    /// - Parameter bytes: that the store takes on the disk.
    func noteStoreSize(_ bytes: Int64) throws(FleetError) {
        let day = String(now.description.prefix(10))
        guard try setting(Self.sizedSetting) != day else { return }
        var event = Act(AuditReport.StoreSize.action, by: "coordinator")
        event.detail = ["bytes": String(bytes)]
        try act(event) { _ throws(FleetError) in try set(Self.sizedSetting, day) }
    }
}

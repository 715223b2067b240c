import FleetSystem

@testable import FleetAgent

extension CoordinatorPort {
    /// For tests that are about something else.
    func keep(_ configuration: @escaping ConfigurationSender.Collect) async throws(FleetError) {}
}

internal import FleetProtocol
internal import FleetSystem

/// What is said where there is no cluster: none at all, or none that whoever asks may see, who may not add any either.
enum NoClusters {
    static let none = "no clusters yet; add one with 'fleetctl cluster add NAME'"
    static let unseen = "no cluster that you may see; 'fleetctl whoami' says which clusters you may"

    static func text(isScoped: Bool) -> String { isScoped ? unseen : none }

    /// Whether whoever asks has some clusters only; a coordinator that is too old to say so knows of no such.
    static func isScoped(_ control: Control) async -> Bool {
        let reply: WhoAmIReply? = try? await control.call(ControlMethod.whoAmI, ListRequest())
        return reply?.clusters != nil
    }

    /// - Parameters:
    ///   - seen: how many clusters there are, of which none is of use.
    ///   - use: "to back up"
    static func error(_ control: Control, seen: Int, _ use: String) async -> FleetError {
        if seen > 0 {
            return FleetError(
                .notFound, "there is nothing \(use) in the clusters that there are",
                hint: "they hold no etcd, only verifiers: fleetctl agent list")
        }
        guard await isScoped(control) else {
            return FleetError(.notFound, "there are no clusters", hint: "add one with 'fleetctl cluster add NAME'")
        }
        return FleetError(
            .notFound, "there is no cluster that you may see", hint: "which you may: fleetctl whoami")
    }
}

import FleetProtocol
import FleetSystem

/// Who asks, as of this request: what it may is looked up each time, so that a change counts at once.
struct Principal: Sendable {
    /// As the audit log names it: "operator:alice"; "root", "user:UID" on the coordinator's socket.
    var actor: String
    /// nil: the coordinator's host, which may everything.
    var access: OperatorAccess?
    var scope: Scope

    static func host(_ actor: String) -> Principal { Principal(actor: actor, access: nil, scope: .all) }

    /// - Throws: `permission-denied`.
    func need(_ role: OperatorRole, _ method: String) throws(FleetError) {
        guard let access, access.role < role else { return }
        throw FleetError(
            .permissionDenied, "\(method) needs the role \(role.rawValue), and \(actor) is \(access.role.rawValue)",
            hint: "ask somebody who is, or have root on the coordinator's host give it: \(Self.grant(actor, role))")
    }

    /// - Throws: `permission-denied`.
    func needsHost(_ method: String) throws(FleetError) {
        guard access != nil else { return }
        throw FleetError(
            .permissionDenied,
            "\(method) is for root on the coordinator's host: who could make operators could be two people",
            hint: "run it there, as root")
    }

    /// - Throws: `permission-denied`.
    func needsAll(_ method: String) throws(FleetError) {
        guard let access, !access.clusters.isEverything else { return }
        throw FleetError(
            .permissionDenied, "\(method) is about the whole fleet, and \(actor) is \(access.text)",
            hint: "ask somebody whose role is for all clusters")
    }

    /// A cluster that is not there is refused as one that is not theirs: its absence says nothing to them.
    ///
    /// - Throws: `permission-denied`.
    func need(cluster: String) throws(FleetError) {
        guard let access, !scope.contains(cluster) else { return }
        throw FleetError(
            .permissionDenied,
            "\(Names.isValid(cluster) ? cluster : Names.quote(cluster)) is not among the clusters of \(actor), who is \(access.text)",
            hint: "list yours with: fleetctl cluster list")
    }

    private static func grant(_ actor: String, _ role: OperatorRole) -> String {
        "fleetctl operator set \(actor.dropFirst("operator:".count)) --role \(role.rawValue)"
    }
}

/// The clusters that somebody may see, by name.
enum Scope: Sendable, Equatable {
    case all
    case only(Set<String>)

    func contains(_ cluster: String) -> Bool {
        switch self {
        case .all: true
        case .only(let names): names.contains(cluster)
        }
    }

    /// For a query's "?N IS NULL OR cluster IN (SELECT value FROM json_each(?N))".
    func json() throws(FleetError) -> String? {
        switch self {
        case .all: nil
        case .only(let names): try JSON.text(names.sorted())
        }
    }
}

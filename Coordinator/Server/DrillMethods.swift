import EtcdSnapshot
import FleetProtocol
import FleetSystem

/// A drill, as an operator asks for it.
extension CoordinatorServer {
    func startDrill(
        _ stream: FleetProtocol.Stream, _ request: DrillRequest, _ who: Principal
    ) async throws(FleetError) {
        let entry = try await drilled(request.name, who.scope)
        let job = try await makeDrill(entry, on: request.node, who.actor, in: who.scope)
        try await begin(job, answering: stream)
    }

    /// - Parameters:
    ///   - scope: on whose nodes, and on any verifier.
    ///   - run: what was due, where a policy demands it.
    func makeDrill(
        _ entry: SnapshotEntry, on node: String?, _ actor: String, in scope: Scope = .all, run: Planner.Start? = nil
    ) async throws(FleetError) -> JobRecord {
        let record = entry.record
        let usable = entry.condition == .verified || entry.condition == .foreign
        guard usable, record.imported?.isRawDatabase != true else {
            throw FleetError(
                .snapshotUnusable,
                "snapshot \(record.id) is \(usable ? "a raw database, which agents don't restore" : entry.condition.rawValue)",
                hint: "choose another one: fleetctl snapshot list \(record.cluster)")
        }
        let agent = try DrillChoice.choose(
            try await agents().filter { $0.isVerifier || scope.contains($0.cluster) }, for: record, on: node,
            busy: try await catalogue.busyClusters())
        // Before the work of reading it, and again when the job is made.
        do throws(FleetError) { try await catalogue.checkIdle(agent.cluster) } catch {
            // Who waits for an agent asks every few seconds: that is no refusal to keep for ever.
            OperatorRequest.current?.note()
            throw error
        }
        // What can't be compared with is said before a byte of it is read.
        _ = try DrillExpectation(record, sample: DrillSample([]))
        let expected = try DrillExpectation(record, sample: try await sample(entry))
        return try await catalogue.createDrill(
            record, expecting: expected, on: agent, lifetime: configuration.jobLifetime, by: actor, run: run)
    }

    /// A cluster's name means its newest verified snapshot.
    private func drilled(_ name: String, _ scope: Scope) async throws(FleetError) -> SnapshotEntry {
        if scope.contains(name), try await catalogue.clusterExists(name) {
            return try await catalogue.findSnapshot("latest", cluster: name)
        }
        guard case .id = try SnapshotChoice(name) else {
            throw FleetError(
                .usage, "\(Names.quote(name)) names no cluster and no snapshot",
                hint: "give a cluster, or a snapshot's id or its beginning")
        }
        do throws(FleetError) { return try await catalogue.findSnapshot(name, in: scope) } catch {
            guard error.code == .notFound else { throw error }
            throw FleetError(
                .notFound, "there is no cluster and no snapshot \(Names.quote(name))",
                hint: "list them with: fleetctl cluster list; fleetctl snapshot list")
        }
    }

    /// The first keys with their values, as the repository has them. The mark of a bumped revision is left out: no client
    /// sees it.
    private func sample(_ entry: SnapshotEntry) async throws(FleetError) -> DrillSample {
        try await desk.seat { () async throws(FleetError) in
            let look = try await SnapshotLook(entry, vault)
            return try await look.take { reader throws(FleetError) in
                var smallest = SmallestKeys<LiveKey>(after: nil, budget: ContentListing.pageBudget)
                try reader.forEachLiveKey(prefix: []) { key throws(FleetError) in
                    if !key.key.isEmpty { smallest.add(key.key, key) }
                }
                var keys: [(key: [UInt8], modRevision: Int64, value: [UInt8])] = []
                for key in smallest.take().prefix(DrillSample.limit).map(\.item) {
                    keys.append((key.key, key.modRevision, try reader.value(of: key)))
                }
                return DrillSample(keys)
            }
        }
    }
}

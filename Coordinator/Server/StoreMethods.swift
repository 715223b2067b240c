import FleetProtocol
import FleetSystem

/// What an operator may ask of the store itself.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveStore(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        guard let upkeep = vault.store as? any StoreUpkeep else { return false }
        switch stream.method {
        case ControlMethod.checkStore:
            let request = try JSON.decode(StoreCheckRequest.self, from: stream.request)
            let before = try await vault.catalogue.snapshotConditions()
            var reply = try await blocking { () throws(FleetError) in try upkeep.check(readData: request.readData) }
            let lost = try await vault.lost()
            for entry in lost { reply.add(lost: entry.record.id, upkeep.path(entry.record.id)) }
            try await record(reply, before, lost, actor)
            // Behind that: a snapshot whose nodes' configuration is damaged can be restored all the same.
            let bundles = try await vault.checkBundles()
            if request.readData {
                reply.recovered = try await vault.lookAgain(
                    except: Set(reply.findings.flatMap(\.snapshots)), by: actor)
            }
            reply.findings += bundles
            try await stream.finish(reply)
        case ControlMethod.storeStatistics:
            try await stream.finish(try await blocking { () throws(FleetError) in try upkeep.statistics() })
        case ControlMethod.collectStore:
            let request = try JSON.decode(StoreCollectRequest.self, from: stream.request)
            var reply = try await blocking { () throws(FleetError) in try upkeep.collect(dryRun: request.dryRun) }
            for bundle in try await vault.collectBundles(dryRun: request.dryRun) {
                reply.files.append(bundle.path)
                reply.fileBytes += bundle.size
            }
            if !request.dryRun {
                var event = Act("store.gc", by: actor)
                event.detail = ["files": "\(reply.files.count)", "bytes": "\(reply.fileBytes + reply.blockBytes)"]
                try await catalogue.audit(event)
            }
            try await stream.finish(reply)
        default: return false
        }
        return true
    }

    /// Not at once: a coordinator that ends again after a moment has nothing to tell.
    private static let sizePause = Duration.seconds(300)

    func keepStoreSizes() async {
        while true {
            do { try await Task.sleep(for: Self.sizePause) } catch { return }
            await keepStoreSizeNow()
        }
    }

    func keepStoreSizeNow() async {
        let store = vault.store
        do throws(FleetError) {
            try await catalogue.noteStoreSize(try await blocking { () throws(FleetError) in try store.usedSpace() })
        } catch { log.error("how large the store is could not be recorded", error) }
    }

    /// A snapshot that can't be read any more must not be chosen for a restore. But reading takes an hour, and what others
    /// found meanwhile, or put right, is newer.
    ///
    /// - Parameters:
    ///   - before: what was known when the check began.
    ///   - lost: what was known of those when they were not there.
    private func record(
        _ reply: StoreCheckReply, _ before: [String: SnapshotCondition], _ lost: [SnapshotEntry], _ actor: String
    ) async throws(FleetError) {
        let lost = Dictionary(uniqueKeysWithValues: lost.map { ($0.record.id, $0) })
        for finding in reply.findings {
            for id in finding.snapshots {
                guard let entry = try await catalogue.entry(id) else { continue }
                // That one is damaged is known; that its file is gone since is news.
                let isNews = entry.condition == .verified || entry.condition == .foreign
                guard lost[id] != nil || isNews && before[id] == entry.condition else { continue }
                try await catalogue.mark(
                    id, finding.problem.code == .notFound ? .missing : .damaged, finding.problem,
                    since: lost[id] ?? entry, by: actor)
            }
        }
    }
}

extension StoreCheckReply {
    /// Where others build on it, its file is in a finding already.
    fileprivate mutating func add(lost id: String, _ path: String) {
        if let known = findings.firstIndex(where: { $0.path == path }) {
            findings[known].snapshots = (findings[known].snapshots + [id]).sorted()
        } else {
            findings.append(Finding(path: path, problem: Vault.lossProblem(id), snapshots: [id]))
        }
    }
}

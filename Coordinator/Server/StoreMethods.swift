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
            var reply = try await blocking { () throws(FleetError) in try upkeep.check(readData: request.readData) }
            let lost = try await vault.lost()
            for id in lost { reply.add(lost: id, upkeep.path(id)) }
            try await record(reply, Set(lost), actor)
            if request.readData {
                reply.recovered = try await vault.lookAgain(
                    except: Set(reply.findings.flatMap(\.snapshots)), by: actor)
            }
            try await stream.finish(reply)
        case ControlMethod.storeStatistics:
            try await stream.finish(try await blocking { () throws(FleetError) in try upkeep.statistics() })
        case ControlMethod.collectStore:
            let request = try JSON.decode(StoreCollectRequest.self, from: stream.request)
            let reply = try await blocking { () throws(FleetError) in try upkeep.collect(dryRun: request.dryRun) }
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

    /// A snapshot that can't be read any more must not be chosen for a restore.
    private func record(_ reply: StoreCheckReply, _ lost: Set<String>, _ actor: String) async throws(FleetError) {
        for finding in reply.findings {
            for id in finding.snapshots {
                // That one is damaged is known; that its file is gone since is news.
                guard let entry = try await catalogue.entry(id),
                    entry.condition == .verified || entry.condition == .foreign || lost.contains(id)
                else { continue }
                try await catalogue.mark(
                    id, finding.problem.code == .notFound ? .missing : .damaged, finding.problem, by: actor)
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

import FleetCrypto
import FleetProtocol
import FleetSystem

/// What operators may ask of restores that take two people.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveApproval(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        switch stream.method {
        case ControlMethod.protectCluster:
            let request = try JSON.decode(ProtectRequest.self, from: stream.request)
            try await catalogue.protect(request.cluster, request.isProtected, by: actor)
            try await stream.finish(try await catalogue.cluster(request.cluster))
        case ControlMethod.previewApproval:
            _ = try await certificate(stream)
            let name = try JSON.decode(NameRequest.self, from: stream.request).name
            var preview = try await catalogue.approvable(name)
            if preview.statement.undoes == nil {
                // With the cautions that whoever planned it was shown.
                let cluster = try await catalogue.cluster(preview.statement.cluster)
                let entry = try await catalogue.snapshotToRestore(preview.statement.snapshot, to: cluster.name)
                // One that is away just now keeps nobody from looking at what was planned while it was there.
                let all = try await agents(cluster.name)
                let planned = preview.statement.replaces.compactMap { $0.split(separator: " ").first.map(String.init) }
                let members =
                    (try? RestoreMembers.find(all, entry.record, cluster: cluster.name))
                    ?? all.filter { planned.contains($0.node) }
                preview.restore = try await self.preview(entry, cluster, members: members, of: all)
            }
            try await stream.finish(preview)
        case ControlMethod.approveRestore:
            let request = try JSON.decode(ApproveRequest.self, from: stream.request)
            try await stream.finish(
                try await catalogue.approve(request, certificate: try await certificate(stream), by: actor))
        default: return false
        }
        return true
    }

    /// Of whoever asks: an approval is signed with its key.
    private func certificate(_ stream: FleetProtocol.Stream) async throws(FleetError) -> X509Certificate {
        guard case .certificate(let certificate) = await stream.connection.peer else {
            throw FleetError(
                .permissionDenied,
                "an approval is signed with an operator's own key, which the socket does not ask for",
                hint: "log in as an operator, for instance on another machine: fleetctl login -")
        }
        return certificate
    }
}

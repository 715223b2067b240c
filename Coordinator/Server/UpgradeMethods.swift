import FleetCrypto
import FleetProtocol
import FleetSystem

/// Programs of the agents: in from an operator, out to those that are upgraded.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveUpgrade(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        switch stream.method {
        case ControlMethod.uploadProgram:
            try await takeProgram(stream, try JSON.decode(StreamDigest.self, from: stream.request), actor)
        case ControlMethod.upgradeAgent:
            try await startUpgrade(stream, try JSON.decode(UpgradeRequest.self, from: stream.request), actor)
        default: return false
        }
        return true
    }

    private func takeProgram(
        _ stream: FleetProtocol.Stream, _ announced: StreamDigest, _ actor: String
    ) async throws(FleetError) {
        let store = try programStore()
        if let known = try await blocking({ () throws(FleetError) in try store.record(announced.sha256) }) {
            // Its bytes need not travel again, and who has it put on a node is on record there.
            try await stream.send(message: UploadOffset(offset: known.size))
            guard case .end = try await stream.receive() else {
                throw FleetError(.protocolViolation, "bytes of a program that is here already")
            }
            return try await stream.finish(known)
        }
        let upload = try await blocking { () throws(FleetError) in try store.begin(announced) }
        let result: Result<ProgramRecord, FleetError>
        do throws(FleetError) { result = .success(try await receive(upload, stream, store)) } catch {
            result = .failure(error)
        }
        store.end()
        let record = try result.get()
        var act = Act("program.store", by: actor, subject: record.sha256)
        act.detail = [
            "version": record.version, "size": String(record.size), "architecture": record.architecture,
        ]
        try await catalogue.audit(act)
        log.info("the agents' program \(record.name) was uploaded", ["by": actor])
        try await stream.finish(record)
    }

    private func receive(
        _ upload: ProgramStore.Upload, _ stream: FleetProtocol.Stream, _ store: ProgramStore
    ) async throws(FleetError) -> ProgramRecord {
        try await stream.send(message: UploadOffset(offset: 0))
        while true {
            switch try await stream.receive() {
            case .data(let bytes): try await blocking { () throws(FleetError) in try upload.take(bytes) }
            case .end(let body):
                let digest = try JSON.decode(StreamDigest.self, from: body)
                let needed = try await catalogue.programsInUse()
                return try await blocking { () throws(FleetError) in
                    try store.finish(upload, digest, keeping: needed)
                }
            case .message: throw FleetError(.protocolViolation, "a message among the bytes of a program")
            }
        }
    }

    private func startUpgrade(
        _ stream: FleetProtocol.Stream, _ request: UpgradeRequest, _ actor: String
    ) async throws(FleetError) {
        let store = try programStore()
        guard let program = try await blocking({ () throws(FleetError) in try store.record(request.sha256) }) else {
            throw ProgramStore.missing(request.sha256)
        }
        guard let agent = try await agents(request.cluster).first(where: { $0.node == request.node }) else {
            throw FleetError(
                .notFound, "cluster \(request.cluster) has no agent on \(Names.quote(request.node))",
                hint: "see: fleetctl agent list")
        }
        do throws(FleetError) { try await catalogue.checkIdle(agent.cluster) } catch {
            // Who waits for a cluster asks every few seconds: that is no refusal to keep for ever.
            OperatorRequest.current?.note()
            throw error
        }
        let job = try await catalogue.createUpgrade(
            to: program, on: agent, lifetime: UpgradeLimits.toBegin, by: actor)
        try await begin(job, answering: stream)
    }

    private func programStore() throws(FleetError) -> ProgramStore {
        guard let programs else {
            throw FleetError(.unknownMethod, "this coordinator keeps no programs", hint: "upgrade the older side")
        }
        return programs
    }

    /// For an agent whose open upgrade names it.
    func sendProgram(_ stream: FleetProtocol.Stream, _ node: NodeName) async throws(FleetError) {
        let request = try JSON.decode(ProgramFetchRequest.self, from: stream.request)
        try await catalogue.checkFetch(request, from: node)
        try await catalogue.transferring(request.job)
        let store = try programStore()
        let (file, size) = try await blocking { () throws(FleetError) in
            try store.open(request.sha256, from: request.offset)
        }
        var progress = TransferProgress(job: request.job, total: size, feed: feed)
        while true {
            let bytes = try await blocking { () throws(FleetError) in try file.read(256 << 10) }
            if bytes.isEmpty { break }
            try await stream.send(bytes)
            await progress.moved(to: file.length)
        }
        guard file.digest == request.sha256 else {
            try await blocking { () throws(FleetError) in store.discard(request.sha256) }
            throw FleetError(
                .programDamaged, "the program \(request.sha256.prefix(12)) is not what was stored any more",
                hint: "upgrade again, which uploads it anew")
        }
        try await stream.finish(StreamDigest(length: file.length, sha256: file.digest))
    }
}

enum UpgradeLimits {
    /// An agent that is connected takes a job at once: one that does not is not upgraded an hour later, behind everybody's back.
    /// Clocks that are off by some minutes are no matter.
    static let toBegin = Duration.seconds(600)
}

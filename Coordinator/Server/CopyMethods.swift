import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem

/// The coordinator's copies of itself, by request and by themselves.
extension CoordinatorServer {
    /// How old the newest may become while anything is recorded.
    static let copyPeriod = Duration.seconds(6 * 3600)

    /// - Returns: false for a method that is none of these.
    func serveCopies(_ stream: FleetProtocol.Stream, _ actor: String) async throws(FleetError) -> Bool {
        guard let copies else { return false }
        switch stream.method {
        case ControlMethod.listCoordinatorCopies:
            try await stream.finish(try await blocking { () throws(FleetError) in try copies.list() })
        case ControlMethod.backUpCoordinator:
            // Sealed, and all keys are in it: that it was handed out is on record first, and in the copy.
            try await catalogue.audit(Act("coordinator.backup", by: actor))
            let copy = try await copyNow(copies)
            var hasher = SHA256()
            var length: Int64 = 0
            let source = try await blocking { () throws(FleetError) in try copies.repository.copy(copy.name) }
            while let piece = try await blocking({ () throws(FleetError) in try source.next() }) {
                hasher.update(piece)
                length += Int64(piece.count)
                try await stream.send(piece)
            }
            try await stream.finish(StreamDigest(length: length, sha256: hasher.finalize().hex))
        default: return false
        }
        return true
    }

    /// Looks every few minutes: what was recorded a moment ago may be what a lost disk takes.
    func keepCopies() async {
        guard let copies else { return }
        do throws(FleetError) {
            // In this order: none that is made meanwhile is above what is read then.
            let found = try await blocking { () throws(FleetError) in try copies.list() }
            let head = try await catalogue.auditSequence()
            try await blocking { () throws(FleetError) in
                try copies.setAside(found, above: head)
                try copies.removeBroken()
            }
        } catch {
            log.error("the coordinator's copies of itself could not be looked at", error)
        }
        while !Task.isCancelled {
            do throws(FleetError) {
                let now = Timestamp.now()
                // One from a time that is not yet says nothing of how old it is.
                let made = try await blocking { () throws(FleetError) in try copies.list() }.map(\.made)
                let last = made.filter { $0 <= now.adding(.seconds(600)) }.max()
                lastCopy.withLock { $0 = last }
                // Certificates begin five minutes early. A copy from before the authority is of no use to who has come over to it.
                let authority = keys.authority.certificate.notBefore.adding(.seconds(300))
                let isOld = last.map { now.since($0) >= Self.copyPeriod || $0 < authority } ?? true
                let isWanted = copySoon.withLock(\.self)
                // Where nothing happened since, another would be the same.
                let head = try await catalogue.auditSequence()
                if isOld || isWanted, last == nil || copiedHead.withLock({ $0 }) != head {
                    let copy = try await copyNow(copies)
                    copiedHead.withLock { $0 = head }
                    copySoon.withLock { $0 = false }
                    log.info("made a copy of the coordinator", ["copy": copy.name, "bytes": "\(copy.size)"])
                }
                copyProblem.withLock { $0 = nil }
            } catch {
                log.error("the coordinator could not make a copy of itself", error)
                // A restore ends; what does not end by itself is told.
                if error.code != .busy { copyProblem.withLock { $0 = error } }
            }
            try? await Task.sleep(for: .seconds(300))
        }
    }

    private func copyNow(_ copies: CoordinatorCopies) async throws(FleetError) -> CoordinatorCopy {
        let copying = self.copying
        let copy = try await blocking { () throws(FleetError) in
            try copying.attempt { _ throws(FleetError) in try copies.make() }
        }
        lastCopy.withLock { $0 = copy.made }
        return copy
    }
}

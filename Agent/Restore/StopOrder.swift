internal import FleetProtocol
internal import FleetReactor
internal import FleetSystem
internal import FleetTLS

extension RestoreSteps {
    /// A leader that is told to stop hands over to another member first, and when that one is stopping too it waits for many
    /// seconds in vain, with the cluster down. So it goes last: with nobody to hand over to it stops at once. A member that
    /// does not go in a few seconds is not waited for.
    func letFollowersGoFirst() {
        // One without a process leads nobody, whether it comes back or not.
        guard work.group != nil, (try? EtcdAbsence().runs(work.instance)) != false, let status = try? client().status(),
            status.leader == status.memberID
        else { return }
        _ = try? Waiting.until(5) { () throws(FleetError) in !othersListen }
    }

    private var othersListen: Bool {
        let others = (work.group?.members ?? []).filter { $0.name != work.instance.name }
        return others.flatMap(\.peerURLs).contains { url in
            let address = try? Address(String(url.drop { $0 != "/" }.drop { $0 == "/" }))
            guard case .tcp(let host, let port) = address else { return false }
            return HTTPProbe.isListening(host: host, port: port, seconds: 1)
        }
    }
}

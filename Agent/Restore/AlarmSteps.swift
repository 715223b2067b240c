internal import FleetSystem

/// Alarms come with a snapshot, and a NOSPACE one keeps all from writing to what was restored until somebody disarms it.
extension RestoreSteps {
    /// Behind the verification. Disarming is for all members, so one that finds nothing is as good as the one that did it.
    /// Everything serves by now, and what fails here is told. An undo leaves the old data as it was.
    ///
    /// - Parameter alarms: none of them is CORRUPT, for they are disarmed together.
    /// - Throws: `corrupt-alarm` where one is raised meanwhile.
    func settle(
        _ alarms: [EtcdClient.Alarm], _ client: EtcdClient, until deadline: ContinuousClock.Instant
    ) throws(FleetError) -> StepReport {
        let words = alarms.map { "alarm \($0.kind.name) of member \(String($0.member, radix: 16)) is on" }
        guard work.undoes == nil, !alarms.isEmpty, alarms.allSatisfy({ $0.kind == .noSpace }) else {
            return StepReport(note: words.isEmpty ? nil : words.joined(separator: "; ") + ": etcdctl alarm disarm")
        }
        let advice = "raise --quota-backend-bytes, or compact and defragment"
        let remark: String
        do throws(FleetError) {
            let left = try Waiting.persistently(until: deadline) { () throws(FleetError) -> [EtcdClient.Alarm] in
                // Looked at again: it is all alarms of all members that go.
                if try harmlessAlarms(client).isEmpty { return [] }
                try client.disarm()
                return try harmlessAlarms(client)
            }
            remark =
                left.contains { $0.kind == .noSpace }
                ? "a NOSPACE alarm from before was disarmed, and etcd has raised it again: \(advice), then: etcdctl alarm disarm"
                : "a NOSPACE alarm from before was disarmed; if etcd raises it again at the next write, \(advice)"
        } catch  where error.code == .corruptAlarm {
            throw error
        } catch {
            remark =
                "a NOSPACE alarm from before could not be disarmed, and etcd takes no writes: etcdctl alarm disarm "
                + "(\(error.message))"
        }
        return StepReport(note: remark, remark: remark)
    }
}

extension EtcdClient.Alarm.Kind {
    /// As etcd calls it.
    var name: String {
        switch self {
        case .noSpace: "NOSPACE"
        case .corrupt: "CORRUPT"
        case .other(let number): "\(number)"
        }
    }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// One drill: preflight, fetch, restore, start, read, clean. It touches nothing but its own directory in the spool, and
/// leaves nothing in it.
struct DrillRun: Sendable {
    let paths: AgentPaths
    let job: String
    let order: FleetProtocol.Operation.Drill
    let outbox: Outbox
    let port: any CoordinatorPort
    let faults: FaultInjection

    func run() async -> JobOutcome {
        let drill = Drill(paths: paths, job: job, order: order)
        let steps = JobSteps(job: job, outbox: outbox, faults: faults)
        let ready: Drill.Ready
        do throws(FleetError) {
            ready = try await steps.step("preflight") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in try drill.preflight() }
            }
        } catch {
            await clean(drill, steps)
            return JobOutcome(result: .refused, error: error, summary: "not begun: \(error.message)")
        }
        var report = DrillReport(
            etcd: ready.server.version.description, tool: ready.restorer.description,
            limits: ready.confinement.words(inForce: nil))
        var outcome: JobOutcome
        do throws(FleetError) {
            try await steps.step("fetch") { () throws(FleetError) in
                try await port.fetch(job: job, snapshot: order.snapshot, to: paths.snapshot(job))
            }
            outcome = await prove(drill, ready, steps, &report)
        } catch {
            outcome = JobOutcome(
                result: .failed, error: error, summary: "the snapshot did not arrive; nothing was tried")
        }
        if let error = await clean(drill, steps) {
            outcome.summary += "; \(paths.spool(job)) could not be removed: \(error.message)"
        }
        return outcome
    }

    private func prove(
        _ drill: Drill, _ ready: Drill.Ready, _ steps: JobSteps, _ report: inout DrillReport
    ) async -> JobOutcome {
        let clock = ContinuousClock.now
        var etcd: ScratchEtcd?
        var outcome: JobOutcome
        do throws(FleetError) {
            try await steps.step("restore") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in try drill.restore(ready) }
            }
            report.restoreSeconds = seconds(since: clock)
            let started = ContinuousClock.now
            let running = drill.start(ready)
            etcd = running
            let limit = max(.seconds(20), Duration.seconds(order.limitSeconds) - (started - clock))
            report.limits = try await steps.step("start", detail: \.self) { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in
                    try running.waitUntilHealthy(drill.client(ready), within: limit)
                    return ready.confinement.words(inForce: running.pid.flatMap(CgroupLimits.of))
                }
            }
            report.startSeconds = seconds(since: started)
            let told: (DrillReport.Figures) -> String? = { "\($0.liveKeys) keys at revision \($0.revision)" }
            let figures = try await steps.step("read", detail: told) { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in
                    // One that panics on what it is asked for is what a drill is for.
                    do throws(FleetError) { return try drill.read(drill.client(ready)) } catch {
                        throw running.ending(within: .seconds(3)) ?? error
                    }
                }
            }
            report.figures = figures
            outcome = JobOutcome(
                result: .succeeded,
                summary: "etcd \(report.etcd) served it: revision \(figures.revision), \(figures.liveKeys) keys")
        } catch  where error.code == .drillFailed || error.code == .badSnapshot {
            outcome = JobOutcome(result: .failed, error: error, summary: "it did not restore: \(error.message)")
        } catch {
            // Its report would be the snapshot's verdict.
            let reason = FleetError(
                .drillInconclusive, "the drill broke off, which says nothing of the snapshot: \(error.message)",
                hint: error.hint ?? "drill it again, or on another node with --on")
            outcome = JobOutcome(result: .failed, error: reason, summary: "broke off: \(error.message)")
        }
        report.seconds = seconds(since: clock)
        if outcome.error?.code != .drillInconclusive { outcome.drill = report }
        if let etcd { _ = try? await onDisk { () throws(FleetError) in etcd.stop() } }
        return outcome
    }

    @discardableResult
    private func clean(_ drill: Drill, _ steps: JobSteps) async -> FleetError? {
        do throws(FleetError) {
            try await steps.step("clean") { () throws(FleetError) in
                try await onDisk { () throws(FleetError) in try drill.clean() }
            }
            return nil
        } catch { return error }
    }

    private func seconds(since start: ContinuousClock.Instant) -> Double {
        ((ContinuousClock.now - start).seconds * 1000).rounded() / 1000
    }
}

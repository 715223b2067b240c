import FleetProtocol
import FleetSystem

/// What this node says of itself: its etcd as it is found now, and the jobs that the coordinator has not heard the end of.
struct Inventory: Sendable {
    let runner: JobRunner
    let programs: DrillPrograms
    let own: OwnProgram
    let log: Log

    /// How often the node is looked at; a manifest or a unit changes rarely.
    private static let period = Duration.seconds(30)

    func registration() async -> RegisterRequest {
        var request = RegisterRequest(
            agentVersion: FleetVersion.current, instance: nil, discoveryError: nil, activeJobs: [], lastCounter: 0,
            program: own.told)
        // While a restore moves files about, what is found is neither what was nor what will be.
        if await runner.isRestoring {
            request.discoveryError = FleetError(
                .busy, "a restore is under way on this node", hint: "wait for its end", retryable: true)
        } else {
            do throws(FleetError) {
                let found = try await onDisk { () throws(FleetError) in
                    var found = try Discovery.discover()
                    found.instance.restoreProblem = RestorePlanner.obstacle(found)
                    return found
                }
                request.instance = found.instance
                request.certificates = await certificates(found)
            } catch {
                request.discoveryError = JoinRecord.explain(error, programs.paths)
                request.certificates = await certificates(nil)
            }
            await runner.keepTools(of: request.instance)
            let part = await part(of: request.instance)
            request.instance?.part = part
        }
        let programs = self.programs
        do throws(FleetError) {
            request.drillVersions = try await onDisk { () throws(FleetError) in try programs.versions() }
        } catch { log.warning("which etcd a drill could use is not known: \(error.message)") }
        do throws(FleetError) { request.lastCounter = try await runner.lastCounter() } catch {
            // Then every job is refused here, so the coordinator need not go on above anything.
            log.error("the last job's counter can't be read", error)
        }
        // Last: a look at the node takes seconds, and a job may have come meanwhile.
        request.activeJobs = await runner.activeJobs
        return request
    }

    /// Of all that is found: which end soon is known whether copies are kept or not. So many as fit into a request, those that
    /// end first.
    private func certificates(_ found: DiscoveredEtcd?) async -> [CertificateExpiry]? {
        let all = try? await onDisk { () throws(FleetError) in Configuration.read(found).certificates }
        return all.map { all in
            Array(all.filter { $0.path.utf8.count <= 300 }.sorted { $0.notAfter < $1.notAfter }.prefix(200))
        }
    }

    /// Which member is best asked for a backup; nothing depends on an answer.
    private func part(of instance: EtcdInstance?) async -> MemberPart? {
        guard let instance, instance.pid != nil else { return nil }
        let (paths, version) = (programs.paths, instance.version.flatMap { EtcdVersion($0) })
        return try? await onDisk { () throws(FleetError) in
            let tools = try ToolFinder.find(pid: instance.pid, dataDir: instance.dataDir, copies: paths.tools)
            return try EtcdClient(tool: try tools.client(for: version), instance: instance).status().part
        }
    }

    /// Before the coordinator hears that a restore has ended: whoever asks it then shall see the directory that is in
    /// force, not the one before.
    func tellOfRestore(_ connection: Connection) async {
        do throws(FleetError) {
            let _: Acknowledgement = try await connection.call(Method.register, await registration())
        } catch { log.warning("the end of the restore is told before what it left: \(error.message)") }
    }

    /// Registers again when the node's etcd is another than was told last; `told` on this connection.
    func keepUpToDate(_ connection: Connection, told first: RegisterRequest) async {
        var told = first
        var looked = ContinuousClock.now
        var saidAll = looked
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            let isDue = ContinuousClock.now - looked >= Self.period || told.discoveryError?.code == .busy
            guard isDue, await !runner.isRestoring else { continue }
            looked = .now
            let now = await registration()
            let changed =
                now.instance != told.instance || now.discoveryError != told.discoveryError
                || now.drillVersions != told.drillVersions || now.certificates != told.certificates
                // What ends soon is so by the day.
                || ContinuousClock.now - saidAll > .seconds(86_400)
            guard changed, now.discoveryError?.code != .busy else { continue }
            do throws(FleetError) {
                let _: Acknowledgement = try await connection.call(Method.register, now)
                told = now
                saidAll = looked
                log.info("told the coordinator of a change of this node's etcd")
            } catch {
                if await connection.isClosed { return }
                log.error("the change of this node's etcd could not be told", error)
            }
        }
    }
}

import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl
@testable import FleetCoordinator

/// What a report says of events that are given.
@Suite("Report of events") struct ReportFoldTests {
    @Test func ninetyDaysOfThreeClusters() throws {
        let sample = try SampleEvents(clusters: 3, days: 90)
        let report = try sample.report()
        #expect(report.clusters.map(\.name) == ["cluster-1", "cluster-2", "cluster-3"])
        #expect(report.chain.height == Int64(sample.events.count) && report.chain.firstBreak == nil)
        for cluster in report.clusters {
            // The last day ends with the last event.
            #expect(cluster.days.count == 90)
            #expect(cluster.days[0].date == "2026-08-31" && cluster.days[89].date == "2026-11-28")
            #expect(cluster.policy == "production")
            #expect(cluster.objectives.map(\.seconds) == [7 * 3600])
            #expect(cluster.backups + cluster.failed == 360)
            #expect(cluster.days.reduce(0) { $0 + $1.backups } == cluster.backups)
            #expect(cluster.proven + cluster.unproven == 12)
            #expect(cluster.days.last?.kept == 28 && cluster.deleted == cluster.backups - 28)
            // Each failure is a gap of twelve hours.
            #expect(cluster.failed > 0 && cluster.count(.missed) > 0 && cluster.count(.met) > 60)
        }
        #expect((40...42).allSatisfy { report.clusters[1].days[$0].state == .missed })
        #expect(report.clusters[1].days[42].worst! > 72 * 3600)
        #expect(report.backups.rows.count == report.clusters.reduce(0) { $0 + $1.backups })
        #expect(report.backups.rows.allSatisfy { $0.by == "coordinator" && $0.condition == "verified" })
        #expect(report.backups.rows.count { $0.proven != nil } == report.clusters.reduce(0) { $0 + $1.proven })
        #expect(report.backups.rows.count { $0.deleted != nil } == report.deletions.rows.count)
        let gap = try #require(report.failures.rows.first { $0.cluster == "cluster-2" && $0.attempts >= 12 })
        #expect(gap.kind == "backup" && gap.code == "child-failed" && gap.endedBy?.hasPrefix("backup ") == true)
        #expect(gap.ended!.since(gap.since) >= .seconds(72 * 3600))
        #expect(report.refusals.rows.map(\.action) == ["operator.token"])
        #expect(Set(report.changes.rows.map(\.area)) == ["clusters", "agents", "people", "policies", "data"])
        #expect(report.certificates.rows.map(\.holder) == ["node-1", "node-1", "node-1"])
        #expect(report.notes.isEmpty)
    }

    @Test func aRestoreIsToldAsOneWithWhoWantedAndApprovedIt() throws {
        let report = try SampleEvents(clusters: 2, days: 60).report()
        #expect(report.restores.rows.map(\.dryRun) == [true, false])
        let (plan, restore) = (report.restores.rows[0], report.restores.rows[1])
        #expect(plan.approvals.map(\.by) == ["operator:bob"] && plan.state == "succeeded")
        #expect(
            restore.by == "operator:alice" && restore.approvedBy == "operator:bob" && restore.approvedPlan == plan.id)
        #expect(restore.nodes == ["node-1", "node-2"] && restore.state == "succeeded")
        #expect(restore.steps.count == 15 && restore.steps.count { $0.node == nil } == 5)
        #expect(report.clusters[0].restores == 1, "a plan is none")
    }

    @Test func whatWasBeforeTheRangeIsItsBeginning() throws {
        let sample = try SampleEvents(clusters: 3, days: 90)
        let whole = try sample.report()
        let since = sample.begin.adding(.seconds(60 * 86_400))
        let until = sample.begin.adding(.seconds(80 * 86_400))
        let part = try sample.report(since: since, until: until)
        for (one, all) in zip(part.clusters, whole.clusters) {
            #expect(one.days == Array(all.days[60..<80]))
            #expect(one.objectives == [.init(from: all.objectives.last!.from, seconds: 7 * 3600)])
        }
        #expect(part.restores.rows.isEmpty)
        #expect(part.backups.rows.allSatisfy { $0.stored >= since && $0.stored <= until })
        // Nothing is known of it at the end of the range.
        #expect(part.backups.rows.allSatisfy { $0.deleted.map { $0 <= until } ?? true })
        #expect(part.failures.rows.allSatisfy { $0.ended.map { $0 >= since } ?? true })
        let own = try sample.report(only: ["cluster-2"])
        #expect(own.clusters == [whole.clusters[1]])
        #expect(own.drills.rows == whole.drills.rows.filter { $0.cluster == "cluster-2" })
        #expect(own.failures.rows == whole.failures.rows.filter { $0.cluster == "cluster-2" })
    }

    /// One figure a day, the whole fleet's; a chain without such events makes the report that it always made.
    @Test func howLargeTheStoreWas() throws {
        var sample = try SampleEvents(clusters: 2, days: 30)
        sample.add("store.size", by: "coordinator", ["bytes": "7"])
        let report = try sample.report()
        let sizes = try #require(report.storeSizes)
        #expect(sizes.map(\.date) == report.clusters[0].days.map(\.date))
        #expect(sizes.first?.bytes == 90_000_000 && sizes.last?.bytes == 101_600_000, "the first of a day counts")
        #expect(report.changes.rows.allSatisfy { $0.action != "store.size" })
        #expect(try sample.report(only: ["cluster-1"]).storeSizes == nil)
        let since = sample.begin.adding(.seconds(20 * 86_400))
        #expect(try sample.report(since: since).storeSizes?.count == 10)
    }

    /// What it has dated comes first, and keeps none of the days behind it from being told.
    @Test func aClockThatWasAheadHidesNoSize() throws {
        var fold = ReportFold(since: Timestamp("2026-11-01T00:00:00Z")!, until: nil, only: [])
        let sizes = [
            ("2027-11-30T00:00:10Z", 1), ("2026-11-28T00:00:10Z", 5), ("2026-11-28T12:00:00Z", 6),
            ("2026-11-29T00:00:10Z", 7),
        ]
        for (index, (time, bytes)) in sizes.enumerated() {
            fold.feed(
                AuditEvent(
                    sequence: Int64(index + 1), time: Timestamp(time)!, actor: "coordinator", action: "store.size",
                    cluster: nil, subject: nil, outcome: .ok, detail: ["bytes": "\(bytes)"]))
        }
        let report = fold.report(
            version: "1", made: Timestamp("2026-11-30T00:00:00Z")!,
            chain: .init(height: 4, head: "00", firstBreak: nil, findings: []))
        #expect(
            report.storeSizes == [
                .init(date: "2026-11-28", bytes: 5), .init(date: "2026-11-29", bytes: 7),
            ])
    }

    @Test func theSizeIsRecordedOnceADay() async throws {
        let clock = TestClock()
        let catalogue = try await Fixture.fleet(clock)
        func sizes() async throws -> [String?] {
            try await catalogue.auditLog().map(\.event).filter { $0.action == "store.size" }.map { $0.detail["bytes"] }
        }
        for bytes: Int64 in [5, 6] { try await catalogue.noteStoreSize(bytes) }
        #expect(try await sizes() == ["5"])
        clock.advance(.seconds(86_400))
        try await catalogue.noteStoreSize(8)
        #expect(try await sizes().sorted { $0! < $1! } == ["5", "8"])
    }

    /// A cluster that is there to drill is not one that nobody backs up.
    @Test func aClusterOfVerifiersHoldsNoEtcd() throws {
        var sample = try SampleEvents(clusters: 1, days: 3)
        func report() throws -> (cluster: AuditReport.Cluster, row: [String], isBare: Bool) {
            let report = try sample.report()
            return (
                report.clusters[1], ReportTables.clusters(report).rows[1],
                report.concerns.contains { $0.contains("no verified backup at the end: verifiers") }
            )
        }
        func says(_ node: String, _ detail: [String: String]) {
            sample.add("node.changed", by: "agent", cluster: "verifiers", subject: node, detail)
        }
        sample.add("cluster.add", by: "root", cluster: "verifiers")
        sample.add("enrol", by: "token", cluster: "verifiers", subject: "v1", ["role": "agent", "fingerprint": "v1f"])
        #expect(try report().isBare, "nobody knows yet what it is")
        says("v1", ["discoveryError": "no-etcd"])
        #expect(try report().isBare, "its etcd is not found, and it can't drill either")
        says("v1", ["discoveryError": "no-etcd", "drills": "3.5.16"])
        let found = try report()
        #expect(!found.isBare && found.cluster.holdsNoEtcd == true && found.cluster.objectives.isEmpty)
        #expect(found.cluster.days.allSatisfy { $0.state != .missed })
        #expect(found.row[2] == "holds no etcd" && !found.row.contains("NONE"))
        let missed = try sample.report().concerns.filter { $0.contains("missed its objective") }
        #expect(!missed.contains { $0.hasPrefix("verifiers") })
        sample.add("enrol", by: "token", cluster: "verifiers", subject: "cp1", ["role": "agent", "fingerprint": "cpf"])
        #expect(try report().isBare, "another node of it may have one")
        sample.add("certificate.revoke", by: "root", cluster: "verifiers", subject: "cp1")
        #expect(try !report().isBare)
        says("v1", ["etcdVersion": "3.5.16"])
        #expect(try report().isBare)
    }

    /// Each upgrade of a fleet would be a line for each node.
    @Test func whatNodesSayOfThemselvesIsCounted() throws {
        var sample = try SampleEvents(clusters: 1, days: 2)
        let since = sample.now
        for version in ["1", "2", "3"] {
            sample.add(
                "node.changed", by: "agent:cluster-1/node-1", cluster: "cluster-1", subject: "node-1",
                ["agentVersion": version])
            sample.wait(60)
        }
        let report = try sample.report()
        #expect(report.nodeChanges == 3 && !report.changes.rows.contains { $0.action == "node.changed" })
        #expect(try sample.report(since: since.adding(.seconds(60))).nodeChanges == 2)
        #expect(try SampleEvents(clusters: 1, days: 2).report().nodeChanges == nil)
        for format in [ReportFormat.html, .md, .csv] {
            let text = String(decoding: try format.render(try report.signed()), as: UTF8.self)
            #expect(text.contains("audit log") && (format == .csv || text.contains("3 times")))
        }
    }

    @Test(arguments: [("undo", "Plan of an undo u1"), ("restore", "Plan of a restore u1")])
    func aPlanHasItsArticle(_ kind: String, _ words: String) throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.add(
            "restore.\(kind == "undo" ? "undo" : "create")", by: "root", cluster: "cluster-1", subject: "u1",
            ["nodes": "node-1", "dryRun": "true"])
        for format in [ReportFormat.html, .md] {
            let text = String(decoding: try format.render(try sample.report().signed()), as: UTF8.self)
            #expect(text.contains(words), "\(format)")
        }
    }

    @Test func failuresStandUntilTheyEnd() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.wait(3600)
        sample.add(
            "snapshot.condition", by: "coordinator", cluster: "cluster-1", subject: "s1",
            ["condition": "damaged", "problem": "page 7"])
        sample.wait(60)
        sample.add(
            "job.end", by: "coordinator", cluster: "cluster-1", subject: "d1", outcome: .failed,
            ["kind": "drill", "state": "lost", "code": "lost", "error": "not heard of"])
        sample.add(
            "job.end", by: "coordinator", cluster: "cluster-1", subject: "p1", outcome: .failed,
            ["kind": "restore", "state": "failed", "dryRun": "true"])
        var failures = try sample.report().failures.rows
        #expect(failures.map(\.kind) == ["snapshot", "drill"], "a plan that fails is no failure of the cluster")
        #expect(failures.allSatisfy { $0.ended == nil })
        sample.wait(7200)
        sample.add(
            "job.end", by: "agent:cluster-1/node-1", cluster: "cluster-1", subject: "d1",
            ["kind": "drill", "state": "succeeded"])
        sample.add(
            "snapshot.delete", by: "root", cluster: "cluster-1", subject: "s1",
            ["reason": "by request", "condition": "damaged"])
        failures = try sample.report().failures.rows
        #expect(failures.map(\.endedBy) == ["it was deleted", "drill d1"])
    }

    /// That an older one restores, or one of another etcd, does not make good what failed, and is no proof of the backups.
    @Test func whatADrillDoesNotProve() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        let before = try #require(try sample.report().clusters.first)
        func end(_ job: String, _ detail: [String: String]) {
            sample.add(
                "job.end", by: "agent:v/v1", cluster: "cluster-1", subject: job,
                outcome: detail["state"] == "failed" ? .failed : .ok, ["kind": "drill"].merging(detail) { $1 })
        }
        func says(_ detail: [String: String]) {
            sample.add(
                "snapshot.drill", by: "coordinator", cluster: "cluster-1", subject: "s",
                outcome: detail["verdict"] == "failed" ? .failed : .ok, detail)
        }
        end("d1", ["state": "failed", "code": "drill-differs", "error": "no"])
        says(["verdict": "failed"])
        sample.wait(60)
        end("d2", ["state": "succeeded", "stands": "d1"])
        says(["verdict": "proven", "notBackup": "true"])
        var report = try sample.report()
        #expect(report.failures.rows.last?.kind == "drill" && report.failures.rows.last?.ended == nil)
        #expect(report.clusters[0].proven == before.proven && report.clusters[0].unproven == before.unproven + 1)
        sample.wait(60)
        end("d3", ["state": "succeeded"])
        says(["verdict": "proven"])
        report = try sample.report()
        #expect(report.failures.rows.last?.endedBy == "drill d3")
        #expect(report.clusters[0].proven == before.proven + 1)
    }

    /// What is done once stands only where somebody has to look: neither is a failed restore made good by another one.
    @Test func whatIsDoneOnceDoesNotStand() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        for (action, state) in [
            ("restore.end", "rolled-back"), ("undo.end", "failed"), ("cleanup.end", "failed"),
            ("replace.end", "failed"),
        ] {
            sample.wait(60)
            sample.add(
                action, by: "coordinator", cluster: "cluster-1", subject: action, outcome: .failed,
                ["state": state, "code": "x", "error": "no"])
        }
        var failures = try sample.report().failures.rows
        #expect(failures.map(\.kind) == ["restore", "undo", "cleanup", "replace"])
        #expect(failures.allSatisfy { $0.ended == $0.since && $0.attempts == 1 && $0.endedBy != nil })
        #expect(try !sample.report().concerns.contains { $0.contains("fails since") })
        // Two of the same are two.
        sample.wait(60)
        sample.add(
            "restore.end", by: "coordinator", cluster: "cluster-1", subject: "r2", outcome: .failed,
            ["state": "stuck", "code": "x", "error": "no"])
        sample.add(
            "job.end", by: "coordinator", cluster: "cluster-1", subject: "c2", outcome: .failed,
            ["kind": "cleanup", "state": "lost", "code": "lost", "error": "not heard of"])
        failures = try sample.report().failures.rows
        #expect(failures.suffix(2).map(\.ended) == [nil, nil] && failures.count == 6, "stuck and lost stand")
        sample.wait(60)
        sample.add(
            "restore.end", by: "coordinator", cluster: "cluster-1", subject: "r2", outcome: .failed,
            ["state": "failed", "code": "x", "error": "no"])
        sample.add(
            "job.end", by: "agent:cluster-1/node-1", cluster: "cluster-1", subject: "c2",
            ["kind": "cleanup", "state": "succeeded"])
        failures = try sample.report().failures.rows
        #expect(failures.count == 6 && failures.allSatisfy { $0.ended != nil })
    }

    /// What an agent tells between two backups counts, and what was renewed is gone.
    @Test func certificatesThatAgentsTellOf() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        let ending = [CertificateExpiry(path: "/pki/x.crt", notAfter: sample.now.adding(.seconds(5 * 86_400)))]
        sample.add(
            "node.certificates", by: "agent:cluster-1/node-2", cluster: "cluster-1", subject: "node-2",
            ["certificatesEnding": try JSON.text(ending)])
        let row = try #require(try sample.report().certificates.rows.first { $0.path == "/pki/x.crt" })
        #expect(row.holder == "node-2" && row.kind == "node" && row.ends == ending[0].notAfter)
        sample.wait(60)
        sample.add("node.certificates", by: "agent:cluster-1/node-2", cluster: "cluster-1", subject: "node-2")
        #expect(try !sample.report().certificates.rows.contains { $0.path == "/pki/x.crt" })
    }

    /// Whoever reads only what needs attention is told of them too.
    @Test func certificatesNearTheirEndNeedAttention() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        func near() throws -> [String] { try sample.report().concerns.filter { $0.contains("near the end") } }
        #expect(try near().isEmpty)
        let ending = [10, 20, 40, -1].map { days in
            CertificateExpiry(path: "/pki/\(days).crt", notAfter: sample.now.adding(.seconds(days * 86_400)))
        }
        sample.add(
            "node.certificates", by: "agent:cluster-1/node-1", cluster: "cluster-1", subject: "node-1",
            ["certificatesEnding": try JSON.text(ending)])
        let told = try #require(try near().first)
        #expect(told.hasPrefix("2 certificates are near the end, the first ends in "), "\(told)")
        #expect(try sample.report().concerns.contains("1 certificate has ended."))
    }

    @Test func growthOfOneDayIsNone() {
        #expect(ReportText.growth(from: "3 MB", "2026-11-30", to: "3 MB", "2026-11-30") == "3 MB on 2026-11-30")
        #expect(
            ReportText.growth(from: "3 MB", "2026-11-29", to: "4 MB", "2026-11-30")
                == "From 3 MB on 2026-11-29 to 4 MB on 2026-11-30")
    }

    /// What is renewed by a program every few days is told of when it was not.
    @Test func certificatesThatLiveShortly() throws {
        let now = Timestamp("2026-11-24T00:00:00Z")!
        func text(hours: Int) -> String? {
            let ends = now.adding(.seconds(hours * 3600))
            let begun = ends.adding(.seconds(-3 * 86_400))
            return EndingCertificates.text([CertificateExpiry(path: "/x", notAfter: ends, notBefore: begun)], at: now)
        }
        #expect(text(hours: 40) == nil && text(hours: 17) != nil)
    }

    /// The node's no is the end of it as any other.
    @Test func whatTheNodeRefusesHasEnded() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.add(
            "job.create", by: "operator:alice", cluster: "cluster-1", subject: "r1",
            ["kind": "restore", "node": "node-1", "snapshot": "s"])
        sample.add(
            "job.create", by: "operator:alice", cluster: "cluster-1", subject: "p1",
            ["kind": "restore", "node": "node-1", "snapshot": "s", "dryRun": "true"])
        sample.add("restore.undo", by: "operator:alice", cluster: "cluster-1", subject: "u1", ["undoes": "r0"])
        sample.add("restore.create", by: "operator:alice", cluster: "cluster-1", subject: "no", outcome: .refused)
        sample.wait(5)
        let no = ["state": "refused", "code": "busy", "error": "a drill runs"]
        for id in ["r1", "p1"] {
            sample.add(
                "job.end", by: "agent:cluster-1/node-1", cluster: "cluster-1", subject: id, outcome: .refused,
                no.merging(["kind": "restore"]) { $1 }.merging(id == "p1" ? ["dryRun": "true"] : [:]) { $1 })
        }
        sample.add("undo.end", by: "coordinator", cluster: "cluster-1", subject: "u1", outcome: .refused, no)
        let restores = try sample.report().restores.rows
        #expect(restores.map(\.id) == ["r1", "p1", "u1"])
        #expect(restores.allSatisfy { $0.ended == sample.now && $0.state == "refused" && $0.error == "a drill runs" })
    }

    /// An agent of another cluster may do it: it is of the snapshot's cluster, whichever of the two is asked for.
    @Test func aDrillIsOfItsSnapshotsCluster() throws {
        var sample = try SampleEvents(clusters: 2, days: 1)
        sample.add(
            "job.create", by: "coordinator", cluster: "cluster-1", subject: "d1",
            ["kind": "drill", "node": "cluster-2/node-1", "snapshot": "s"])
        sample.wait(40)
        sample.add(
            "job.end", by: "agent:cluster-2/node-1", cluster: "cluster-2", subject: "d1", outcome: .failed,
            ["kind": "drill", "state": "failed", "code": "drill-differs", "error": "no"])
        #expect(try sample.report(only: ["cluster-1"]).failures.rows.map(\.cluster) == ["cluster-1"])
        #expect(try sample.report(only: ["cluster-2"]).failures.rows.isEmpty)
    }

    /// People log in again on other machines, and some leave: what ended long ago needs nobody's attention.
    @Test func certificatesOfPeopleThatEndedLongAgoAreNone() throws {
        var sample = try SampleEvents(clusters: 1, days: 90)
        func enrol(_ name: String, _ ends: String) {
            sample.add(
                "enrol", by: "token", subject: name,
                ["role": "viewer", "fingerprint": name + ends, "notAfter": "\(ends)T00:00:00.000Z"])
        }
        for (name, ends) in [
            ("left", "2026-08-01"), ("ended", "2026-10-01"), ("renewed", "2026-10-01"), ("renewed", "2027-10-01"),
            ("soon", "2026-12-10"), ("soon", "2026-12-20"),
        ] { enrol(name, ends) }
        let rows = try sample.report().certificates.rows
        #expect(rows.filter { $0.kind == "operator" }.map(\.holder) == ["ended", "soon", "soon"])
        #expect(rows.filter { $0.kind == "agent" }.count == 1)
    }

    @Test func anActionThatIsNewHasAPlace() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.add("operator.role", by: "root", subject: "alice", ["role": "viewer"])
        sample.add("key.rotate", by: "root", ["key": "data"])
        sample.add("weather.changed", by: "root")
        sample.add("weather.changed", by: "eve", outcome: .refused, ["code": "permission-denied"])
        let report = try sample.report()
        #expect(report.changes.rows.suffix(3).map(\.area) == ["people", "keys", "weather"])
        #expect(report.refusals.rows.last?.action == "weather.changed")
    }

    @Test(arguments: ["nan", "-1e300", "1e300", "inf", "x", ""])
    func aNumberOfAnAgentsHarmsNobody(_ text: String) throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.add(
            "snapshot.drill", by: "coordinator", cluster: "cluster-1", subject: "s",
            ["verdict": "proven", "seconds": text])
        let drill = try #require(try sample.report().drills.rows.last)
        #expect((0...1_000_000_000_000).contains(drill.milliseconds))
    }

    @Test func aListKeepsTheNewestAndCountsTheOthers() {
        var rows = BoundedRows<Int>()
        for number in 1...35_000 { rows.add(number) }
        #expect(rows.list.rows.count == ReportLimits.rows && rows.list.leftOut == 25_000)
        #expect(rows.list.rows.first == 25_001 && rows.list.rows.last == 35_000)
    }

    @Test func aPolicyThatCantBeReadIsSaid() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.add(
            "policy.changed", by: "root", subject: "production", ["policy": "{\"name\":\"produc...", "after": ""])
        let report = try sample.report()
        #expect(report.notes.count == 1 && report.concerns.contains { $0.contains("policy production") })
        #expect(report.clusters[0].policy == nil)
    }
}

/// What a report says of a cluster that was removed, and perhaps added again.
@Suite("Report of removed clusters") struct ReportRemovalTests {
    private let day = 86_400

    /// Of the one cluster that is removed behind ten days, with a failure that stands.
    private func removed() throws -> SampleEvents {
        var sample = try SampleEvents(clusters: 1, days: 10)
        sample.add(
            "job.end", by: "coordinator", cluster: "cluster-1", subject: "d1", outcome: .failed,
            ["kind": "drill", "state": "lost", "code": "lost", "error": "not heard of"])
        sample.add("certificate.revoke", by: "root", cluster: "cluster-1", subject: "node-1", ["count": "1"])
        let deleted = Set(sample.events.filter { $0.action == "snapshot.delete" }.map(\.subject))
        for event in sample.events where event.action == "snapshot.store" && !deleted.contains(event.subject) {
            sample.add(
                "snapshot.delete", by: "root", cluster: "cluster-1", subject: event.subject, ["reason": "by request"])
        }
        sample.wait(60)
        sample.add("cluster.remove", by: "root", cluster: "cluster-1")
        return sample
    }

    @Test func itIsToldUntilItsEnd() throws {
        var sample = try removed()
        let end = sample.now
        sample.wait(5 * day)
        sample.add("operator.add", by: "root", subject: "carol", [:])
        let report = try sample.report()
        let cluster = try #require(report.clusters.first)
        #expect(cluster.removed == end && cluster.policy == nil && cluster.backups + cluster.failed == 40)
        #expect(cluster.objectives.map(\.seconds) == [7 * 3600, nil])
        #expect(cluster.days.suffix(5).allSatisfy { $0.state == .unknown && $0.late == nil })
        #expect(cluster.days.prefix(10).allSatisfy { $0.state == .met || $0.failed > 0 })
        #expect(report.failures.rows.last?.endedBy == "the cluster was removed")
        #expect(report.certificates.rows.allSatisfy { $0.cluster == nil })
        #expect(report.changes.rows.contains { $0.action == "cluster.remove" && $0.area == "clusters" })
        #expect(!report.concerns.contains { $0.contains("cluster-1") && !$0.contains("missed its objective") })
        // A report of later days has nothing to say of it.
        let later = try sample.report(since: end.adding(.seconds(day)))
        #expect(later.clusters.isEmpty)
    }

    /// Its objective counts from when it was added again.
    @Test func addedAgainItBeginsAnew() throws {
        var sample = try removed()
        sample.wait(5 * day)
        sample.add("cluster.add", by: "root", cluster: "cluster-1")
        let again = sample.now
        sample.wait(3 * 3600)
        sample.add("operator.add", by: "root", subject: "carol", [:])
        let report = try sample.report(until: sample.now)
        let cluster = try #require(report.clusters.first)
        #expect(cluster.removed == nil && cluster.policy == "production")
        #expect(cluster.objectives.last == .init(from: again, seconds: 7 * 3600))
        let last = try #require(cluster.days.last)
        #expect(last.late == nil && (last.worst ?? .max) <= 3 * 3600, "\(last)")
    }
}

@Suite("Report of authorities") struct ReportAuthorityTests {
    /// Who has not logged in again since is named, and who has is not.
    @Test func certificatesEndWithTheirAuthority() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        func enrol(_ name: String, _ fingerprint: String) {
            sample.add("enrol", by: "token", subject: name, ["role": "operator", "fingerprint": fingerprint])
        }
        enrol("bob", "b1")
        sample.wait(60)
        sample.add("authority.rotate", by: "coordinator", ["former": "x", "fingerprint": "y"])
        sample.wait(60)
        enrol("bob", "b2")
        #expect(try sample.report().certificates.rows.filter { $0.kind == "operator" }.isEmpty)
        sample.wait(60)
        let before = sample
        sample.add("authority.retire", by: "coordinator", ["former": "x", "agents": "0", "operators": "1"])
        let retired = sample.now
        let ended = try sample.report().certificates.rows.filter { $0.kind == "operator" }
        #expect(ended.map(\.holder) == ["alice"] && ended.map(\.ends) == [retired])
        // A report that was made of such an event before says the same as then.
        var older = before
        older.add("authority.retire", by: "coordinator", ["former": "x", "agents": "0"])
        #expect(try older.report().certificates.rows.filter { $0.kind == "operator" }.isEmpty)
    }
}

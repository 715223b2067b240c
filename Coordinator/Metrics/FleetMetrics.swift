import FleetConcerns
import FleetProtocol
import FleetSystem

/// What the catalogue alone can tell for metrics, besides the status of the fleet.
struct MetricFacts: Sendable, Equatable {
    struct Backup: Sendable, Equatable {
        var cluster: String
        /// Bytes of the newest that can be restored, and seconds from asking for it to its end.
        var size: Int64
        var seconds: Double?
    }

    struct Ends: Sendable, Equatable {
        var kind: String
        var state: String
        var count: Int
    }

    struct Policy: Sendable, Equatable {
        var name: String
        var isUnusable: Bool
    }

    var backups: [Backup] = []
    var policies: [Policy] = []
    /// Of all jobs that ever ended, but dry runs.
    var ends: [Ends] = []
}

/// The fleet in numbers. Pure.
enum FleetMetrics {
    static func page(_ status: FleetStatus, _ facts: MetricFacts) -> String {
        var page = Exposition()
        typealias Sample = (labels: [(String, String)], value: Double)
        func seconds(_ time: Timestamp) -> Double { Double(time.milliseconds) / 1000 }
        func clusters(_ value: (ClusterRecord) -> Double?) -> [Sample] {
            status.clusters.compactMap { cluster in value(cluster).map { ([("cluster", cluster.name)], $0) } }
        }
        page.family(
            "fleet_build_info", .gauge, "Version of the coordinator; always 1.",
            [([("version", status.version)], 1)])
        page.gauge(
            "fleet_refresh_timestamp_seconds", "When these figures were made, in seconds since 1970.",
            seconds(status.time))

        let agents = status.agents.filter { $0.certificate?.revoked == nil }
        page.family(
            "fleet_cluster_agents", .gauge,
            "Agents of the cluster that may connect and have an etcd to save, verifiers and the like left out.",
            clusters { cluster in Double(agents.count { $0.cluster == cluster.name && !$0.holdsNoEtcd }) })
        page.family(
            "fleet_cluster_last_backup_timestamp_seconds", .gauge,
            "When the newest backup that can be restored was saved; not there while there is none.",
            clusters { $0.latestSavedAt.map(seconds) })
        page.family(
            "fleet_cluster_last_backup_failed", .gauge,
            "1 while the last backup that has ended failed, whatever is under way since.",
            clusters { ($0.lastBackup?.state ?? .succeeded) == .succeeded ? 0 : 1 })
        page.family(
            "fleet_cluster_objective_seconds", .gauge, "How old the newest backup may be by the cluster's policy.",
            clusters { $0.objective.map(Double.init) })
        page.family(
            "fleet_cluster_unscheduled", .gauge,
            "1 where a policy had the cluster backed up, and it follows none any more.",
            clusters { $0.isUnscheduled(status.agents) ? 1 : 0 })
        page.family(
            "fleet_cluster_snapshots", .gauge, "Snapshots of the cluster that can be restored.",
            clusters { Double($0.snapshots) })
        page.family(
            "fleet_cluster_unusable_snapshots", .gauge, "Snapshots that can't be read or are damaged.",
            clusters { Double($0.unusableSnapshots) })
        page.family(
            "fleet_cluster_half_restored", .gauge, "1 while a restore or replacement stands half-way on a member.",
            clusters { $0.halfRestored == nil ? 0 : 1 })
        page.family(
            "fleet_cluster_no_backup_since_restore", .gauge,
            "1 while the newest backup is not of the data that a restore or undo has put in force since.",
            clusters { $0.latestLeftBy == nil ? 0 : 1 })
        page.family(
            "fleet_cluster_foreign_backup", .gauge,
            "1 while the newest backup of a member is of an etcd cluster that is not known to be this one.",
            clusters { $0.newerForeign == nil ? 0 : 1 })
        page.family(
            "fleet_cluster_decryption_not_kept", .gauge,
            "1 while values of the newest backup are encrypted at rest by what is not in the configuration kept with it.",
            clusters { $0.lacksDecryption(status.agents) ? 1 : 0 })
        page.family(
            "fleet_cluster_last_drill_timestamp_seconds", .gauge,
            "When the last drill of a backup ended, or the one that failed and stands.",
            clusters { $0.lastDrill.map { seconds($0.finished) } })
        page.family(
            "fleet_cluster_last_drill_proven", .gauge,
            "1 where the last drill proved its backup, 0 while one that failed stands: until a backup that is no older is proven.",
            clusters { $0.lastDrill.map { $0.verdict == .proven ? 1 : 0 } })
        page.family(
            "fleet_cluster_last_proven_timestamp_seconds", .gauge,
            "When a drill last proved that a backup of the cluster restores.",
            clusters { $0.lastProven.map(seconds) })
        page.family(
            "fleet_cluster_last_drill_failed", .gauge,
            "1 while the last drill of a backup that has ended failed or could not be made.",
            clusters { ($0.lastDrillJob?.state ?? .succeeded) == .succeeded ? 0 : 1 })
        page.family(
            "fleet_cluster_drills_since_timestamp_seconds", .gauge,
            "Since when the cluster's policy has it drilled as it does now; not there where it does not.",
            clusters { $0.drillsSince.map(seconds) })
        let sized: [Sample] = facts.backups.map { ([("cluster", $0.cluster)], Double($0.size)) }
        page.family("fleet_cluster_last_backup_size_bytes", .gauge, "Size of the newest backup, whole.", sized)
        let timed: [Sample] = facts.backups.compactMap { one in one.seconds.map { ([("cluster", one.cluster)], $0) } }
        page.family(
            "fleet_cluster_last_backup_duration_seconds", .gauge, "From asking for the newest backup to its end.", timed
        )

        func each(_ value: (AgentRecord) -> Double?) -> [Sample] {
            agents.compactMap { agent in
                value(agent).map { ([("cluster", agent.cluster), ("node", agent.node)], $0) }
            }
        }
        page.family("fleet_agent_connected", .gauge, "1 while the agent is connected.", each { $0.connected ? 1 : 0 })
        page.family(
            "fleet_agent_last_seen_timestamp_seconds", .gauge, "When the agent was last heard of.",
            each { $0.lastSeen.map(seconds) })
        page.family(
            "fleet_agent_etcd_found", .gauge, "1 where the agent has found its etcd; not there where none belongs.",
            each { $0.holdsNoEtcd ? nil : $0.instance == nil ? 0 : 1 })
        page.family(
            "fleet_agent_etcd_running", .gauge, "1 where the agent's etcd ran when it looked last, 0 where it did not.",
            each { $0.instance.map { $0.pid == nil ? 0 : 1 } })
        page.family(
            "fleet_agent_certificate_expiry_timestamp_seconds", .gauge, "When the agent's client certificate ends.",
            each { $0.certificate.map { seconds($0.notAfter) } })
        page.family(
            "fleet_agent_certificate_issued_timestamp_seconds", .gauge,
            "When the agent's client certificate was issued: how long it lives, and when it should have been renewed.",
            each { $0.certificate.map { seconds($0.issued) } })
        page.family(
            "fleet_node_certificate_expiry_timestamp_seconds", .gauge,
            "When each of the node's certificates ends: etcd's, the control plane's, the kubelet's; of those "
                + "that are renewed by themselves, those that were not in time.",
            agents.flatMap { agent in
                CertificateExpiry.firstEnds(agent.nodeCertificates ?? [], at: status.time).map {
                    ([("cluster", agent.cluster), ("node", agent.node), ("path", $0.path)], seconds($0.notAfter))
                }
            })
        page.family(
            "fleet_node_configuration_timestamp_seconds", .gauge,
            "When the configuration that is kept of the node was last known to be the node's own.",
            each { $0.configuration?.confirmed.map(seconds) })

        page.family(
            "fleet_agent_upgrade_fell_back", .gauge,
            "1 where the agent's last upgrade was taken back by its node and it runs the program from before.",
            each { $0.program.map { $0.fallback == nil ? 0 : 1 } })

        let open = Dictionary(grouping: status.openJobs, by: \.kind).mapValues(\.count)
        page.family(
            "fleet_jobs_open", .gauge, "Jobs under way or waiting for their agent.",
            ["backup", "restore", "undo", "cleanup", "drill", "replace", "upgrade"].map {
                ([("kind", $0)], Double(open[$0] ?? 0))
            })
        page.family(
            "fleet_jobs_ended_total", .counter, "Jobs that have ended, by how; dry runs are none of them.",
            facts.ends.map { ([("kind", $0.kind), ("state", $0.state)], Double($0.count)) })
        page.family(
            "fleet_task_waiting_timestamp_seconds", .gauge,
            "Since when a backup or drill is due by its policy that can't begin, or is held back for long.",
            (status.waiting ?? []).map { ([("cluster", $0.cluster), ("kind", $0.kind)], seconds($0.due)) })
        let due = Dictionary(grouping: (status.waiting ?? []) + (status.queue ?? []), by: \.kind).mapValues(\.count)
        page.family(
            "fleet_tasks_due", .gauge, "Backups and drills that are due by their policies and have not begun.",
            ["backup", "drill"].map { ([("kind", $0)], Double(due[$0] ?? 0)) })

        page.family(
            "fleet_policy_unusable", .gauge,
            "1 where the policy can't be read or followed, and whatever it selects is not backed up by itself.",
            facts.policies.map { ([("policy", $0.name)], $0.isUnusable ? 1 : 0) })
        page.family(
            "fleet_alert_target_failing", .gauge, "1 while an alert waits that the target did not take.",
            (status.alertTargets ?? []).map { ([("target", $0.name)], $0.problem == nil ? 0 : 1) })
        if let authority = status.authority {
            page.gauge(
                "fleet_authority_expiry_timestamp_seconds",
                "When the fleet's authority ends, and all certificates with it.",
                seconds(authority.notAfter))
        }
        page.gauge("fleet_store_used_bytes", "What the stored snapshots take.", Double(status.storeUsed))
        page.gauge("fleet_store_free_bytes", "What is free where they are stored.", Double(status.storeFree))
        page.gauge("fleet_audit_events", "Events in the audit chain.", Double(status.audit.events))
        page.gauge(
            "fleet_audit_chain_intact", "1 while the audit chain holds, as far as it was walked.",
            status.audit.isIntact ? 1 : 0)
        return page.text
    }
}

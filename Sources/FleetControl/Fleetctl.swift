public import FleetCommandLine

/// The command tree of `fleetctl`.
public enum Fleetctl {
    public static let command = Command(
        "fleetctl", "Back up and restore the etcd of many Kubernetes clusters",
        discussion: """
            The coordinator is found, in this order, by --server, by --context, by FLEETCTL_CONTEXT, by the current context of
            ~/.config/fleetctl/config.json, and on the coordinator's own host by its socket.
            """,
        options: Coordinator.options,
        examples: [
            .init("fleetctl backup --all", "back up every cluster"),
            .init("fleetctl restore cluster-a --at latest", "restore cluster-a from its newest snapshot"),
            .init("fleetctl status", "the whole fleet on one screen"),
        ],
        subcommands: [
            statusCommand, watchCommand, backupCommand, restoreCommand, memberCommand, drillCommand, snapshotCommand,
            bundleCommand, clusterCommand,
            agentCommand,
            jobCommand,
            storeCommand, policyCommand, alertCommand, retentionCommand, auditCommand, inspectCommand, operatorCommand,
            coordinatorCommand, loginCommand, whoAmICommand, contextCommand,
        ])
}

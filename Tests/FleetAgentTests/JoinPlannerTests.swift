import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

/// What a node's files become when its member joins the cluster anew.
@Suite struct JoinPlannerTests {
    private func plan(
        _ tree: NodeTree, _ own: String, replacement: String = "r1"
    ) throws -> RestoreWork {
        let joining = FleetProtocol.Operation.Joining(
            initialCluster: "a=https://10.0.0.21:2380,z=https://10.0.0.23:2380,\(own)", databaseSize: 4096,
            etcdVersion: "3.5.1", member: "8e9e05c52164694d")
        let order = FleetProtocol.Operation.Member(
            replacement: replacement, act: .plan(joining, dryRun: false), waitSeconds: 60)
        let job = Job(
            id: "j1", node: "n", cluster: "c", counter: 1, issued: .now(), expires: .now().adding(.seconds(60)),
            operation: .member(order))
        return try JoinPlanner.plan(try tree.discover(), joining, order, job: job)
    }

    private func diff(_ work: RestoreWork) -> String {
        work.plan.changes.map { change in
            UnifiedDiff.text(path: change.path, before: change.before ?? "", after: change.after)
                .split(separator: "\n").filter { !$0.hasPrefix(" ") && !$0.hasPrefix("@") }.map { $0 + "\n" }.joined()
        }.joined()
    }

    private func code(_ tree: NodeTree, _ own: String) -> FleetError.Code? {
        do {
            _ = try plan(tree, own)
            return nil
        } catch { return FleetError(error).code }
    }

    /// Of the first control plane kubeadm sets no state: a line is added below the last flag.
    @Test func aStaticPod() throws {
        let work = try plan(try NodeTree(Layouts.kubeadm), "cp1=https://10.0.0.11:2380")
        #expect(
            diff(work) == """
                --- /etc/kubernetes/manifests/etcd.yaml
                +++ /etc/kubernetes/manifests/etcd.yaml
                -    - --initial-cluster=cp1=https://10.0.0.11:2380
                +    - --initial-cluster=a=https://10.0.0.21:2380,z=https://10.0.0.23:2380,cp1=https://10.0.0.11:2380
                +    - --initial-cluster-state=existing
                -      path: /var/lib/etcd   # the data
                +      path: /var/lib/etcd-replace-r1   # the data

                """)
        #expect(work.plan.newDataDir == "/var/lib/etcd-replace-r1" && work.isMember && work.joins == true)
        #expect(work.holdingDirectory == "/etc/kubernetes/fleet-agent/replace")
        #expect(
            work.plan.steps.map(\.name) == [
                "stop-etcd", "remove-member", "add-member", "make-directory", "switch-files", "start-etcd",
                "promote-member", "prove",
            ])
    }

    /// Of a control plane that joined, the state is right already; quotes and several items stay as they are.
    @Test func aStaticPodThatJoined() throws {
        var files = Layouts.kubeadm
        files["/etc/kubernetes/manifests/etcd.yaml"] = Layouts.kubeadmManifest
            .replacing("    - --key-file", with: "    - --initial-cluster-state=existing\n    - --key-file")
            .replacing(
                "- --initial-cluster=cp1=https://10.0.0.11:2380", with: "- \"--initial-cluster=cp1=https://x:1\"")
        let work = try plan(try NodeTree(files), "cp1=https://10.0.0.11:2380")
        #expect(
            diff(work).contains(
                "+    - \"--initial-cluster=a=https://10.0.0.21:2380,z=https://10.0.0.23:2380,cp1=https://10.0.0.11:2380\"\n"
            ))
        #expect(!diff(work).contains("+    - --initial-cluster-state"))
    }

    @Test func anEnvironmentFile() throws {
        let work = try plan(try NodeTree(Layouts.kubespray), "etcd1=https://10.0.0.13:2380")
        #expect(
            diff(work) == """
                --- /etc/etcd.env
                +++ /etc/etcd.env
                -ETCD_DATA_DIR=/var/lib/etcd
                +ETCD_DATA_DIR=/var/lib/etcd-replace-r1
                -ETCD_INITIAL_CLUSTER_STATE=new
                +ETCD_INITIAL_CLUSTER_STATE=existing
                -ETCD_INITIAL_CLUSTER=etcd1=https://10.0.0.13:2380
                +ETCD_INITIAL_CLUSTER=a=https://10.0.0.21:2380,z=https://10.0.0.23:2380,etcd1=https://10.0.0.13:2380

                """)
        #expect(work.launch == .unit(name: "etcd.service", reload: false))
    }

    /// The package's unit sets the directory and nothing sets the state: both come into one drop-in, which is written
    /// behind the file that names the cluster.
    @Test func whatNamesTheDirectoryIsWrittenLast() throws {
        let work = try plan(
            try NodeTree(Layouts.debian, links: Layouts.debianLinks), "node-b=http://10.0.0.12:2380")
        #expect(
            work.plan.changes.map(\.path) == [
                "/etc/default/etcd", "/etc/systemd/system/etcd.service.d/zz-fleet-agent.conf",
            ])
        #expect(
            work.plan.changes.last?.after == """
                # Written by fleet-agent at a restore: overrides the packaged unit.
                [Service]
                Environment="ETCD_DATA_DIR=/var/lib/etcd/default-replace-r1"
                Environment="ETCD_INITIAL_CLUSTER_STATE=existing"

                """)
        #expect(work.launch == .unit(name: "etcd.service", reload: true))
    }

    @Test func aConfigurationFile() throws {
        let work = try plan(try NodeTree(Layouts.configFile), "m1=http://10.0.0.14:2380")
        #expect(
            diff(work) == """
                --- /etc/etcd/etcd.conf.yml
                +++ /etc/etcd/etcd.conf.yml
                -data-dir: "/srv/etcd"  # on the fast disk
                +data-dir: "/srv/etcd-replace-r1"  # on the fast disk
                -initial-cluster: m1=http://10.0.0.14:2380
                +initial-cluster: "a=https://10.0.0.21:2380,z=https://10.0.0.23:2380,m1=http://10.0.0.14:2380"
                +initial-cluster-state: 'existing'

                """)
    }

    /// Behind the removal of the old member there is no way back from an etcd that starts with what systemd had read before.
    @Test func aLinkedUnitFile() throws {
        let unit = """
            [Service]
            ExecStart=/opt/etcd/etcd --name=m1 --data-dir=/srv/etcd --initial-cluster=m1=http://10.0.0.14:2380 \\
              --initial-advertise-peer-urls=http://10.0.0.14:2380 --initial-cluster-state=new

            """
        let tree = try NodeTree(
            ["/opt/etcd/etcd.service": unit],
            links: ["/etc/systemd/system/etcd.service": "/opt/etcd/etcd.service"])
        let work = try plan(tree, "m1=http://10.0.0.14:2380")
        #expect(work.plan.changes.map(\.path) == ["/opt/etcd/etcd.service"])
        #expect(work.launch == .unit(name: "etcd.service", reload: true))
    }

    @Test(arguments: [
        ("/var/lib/etcd", "/var/lib/etcd-replace-j"),
        ("/var/lib/etcd-restore-20261124-065510-k3f9", "/var/lib/etcd-replace-j"),
        ("/var/lib/etcd-replace-r0", "/var/lib/etcd-replace-j"),
    ])
    func formerSuffixesAreReplaced(_ old: String, _ new: String) {
        #expect(RestorePlanner.newName(old, job: "j", .replace) == new)
        #expect(RestorePlanner.newName(new, job: "k") == "/var/lib/etcd-restore-k")
    }

    @Test func refusals() throws {
        #expect(code(try NodeTree(Layouts.kubespray), "other=https://10.0.0.13:2380") == .notTheMember)
        #expect(code(try NodeTree(Layouts.kubespray), "etcd1=https://10.9.9.9:2380") == .notTheMember)
        var files = Layouts.kubespray
        files["/var/lib/etcd-replace-r1/x"] = ""
        #expect(code(try NodeTree(files), "etcd1=https://10.0.0.13:2380") == .alreadyExists)
        // In a flow sequence there is no line of its own to add.
        files = Layouts.kubeadm
        files["/etc/kubernetes/manifests/etcd.yaml"] = """
            kind: Pod
            metadata: {name: etcd}
            spec:
              containers:
              - command: [etcd, --name=cp1, --data-dir=/var/lib/etcd, "--initial-advertise-peer-urls=https://10.0.0.11:2380"]
                name: etcd
                volumeMounts: [{mountPath: /var/lib/etcd, name: d}]
              volumes: [{name: d, hostPath: {path: /var/lib/etcd}}]
            """
        #expect(code(try NodeTree(files), "cp1=https://10.0.0.11:2380") == .notEditable)
    }

    /// While a replacement holds the manifest, the next one finds the node's etcd all the same.
    @Test func aHeldManifestIsFound() throws {
        var files = Layouts.kubeadm
        files["/etc/kubernetes/fleet-agent/replace/etcd.yaml"] = files.removeValue(
            forKey: "/etc/kubernetes/manifests/etcd.yaml")
        let tree = try NodeTree(files)
        #expect(tree.failure()?.code == .noEtcd)
        let found = try Discovery.discover(try HeldManifest.overlay(tree.files), processes: [])
        #expect(found.instance.name == "cp1" && found.instance.manifest == "/etc/kubernetes/manifests/etcd.yaml")
    }

    @Test func theRecordIsOfOneReplacement() throws {
        let tree = try NodeTree(Layouts.kubespray)
        let paths = AgentPaths(state: tree.root + "/state")
        let work = try plan(tree, "etcd1=https://10.0.0.13:2380")
        try JoinRecord(replacement: "r1", work: work, stage: .planned).write(paths)
        #expect(try JoinRecord.read(paths, of: "r1").work == work)
        let error = #expect(throws: FleetError.self) { try JoinRecord.read(paths, of: "r2") }
        #expect(error?.code == .notFound)
        try JoinRecord.close(paths, end: "r1")
        #expect(try JoinRecord.any(paths) == nil)
        try JoinRecord.close(paths, end: "r1")
    }

    /// Half-way, a node without its manifest is no node without etcd.
    @Test func discoverySaysWhereTheManifestIs() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        let paths = AgentPaths(state: tree.root + "/state")
        var work = try plan(tree, "cp1=https://10.0.0.11:2380")
        work.holdingDirectory = tree.root + "/held"
        let error = FleetError(.noEtcd, "no manifest")
        #expect(JoinRecord.explain(error, paths) == error)
        try JoinRecord(replacement: "r1", work: work, stage: .stopping).write(paths)
        #expect(JoinRecord.explain(error, paths) == error, "it is in its place")
        try tree.write("/held/etcd.yaml", "")
        let explained = JoinRecord.explain(error, paths)
        #expect(explained.code == .restoreUnfinished && explained.message.contains("etcd.yaml lie in"))
        #expect(explained.hint?.contains("fleetctl member replace c n") == true)
    }
}

/// Changes of a real cluster's membership, each as it is done again after a kill.
@Suite(.enabled(if: RealEtcd.isInstalled), .timeLimit(.minutes(3)))
struct MemberChangeTests {
    @Test func eachChangeIsDoneOnce() async throws {
        try await onDisk { () throws(FleetError) in
            do { try check() } catch { throw FleetError(error) }
        }
    }

    private func check() throws {
        let etcd = try RealEtcd()
        let tool = try RealEtcd.tools().client(for: nil)
        let change = MemberChange(client: EtcdClient(tool: tool, instance: etcd.instance), waitSeconds: 10)
        try change.check()
        let peer = "http://127.0.0.1:9"
        let id = try change.add("m2", [peer])
        #expect(try change.add("m2", [peer]) == id, "cut off behind the addition")
        let listed = try change.client.members().first { $0.id == id }
        #expect(listed == .init(id: id, name: "", peerURLs: [peer], isLearner: true))

        // It never came: etcd does not make it a voter.
        let behind = MemberChange(client: change.client, waitSeconds: 1)
        let error = #expect(throws: FleetError.self) { try behind.promote(id) }
        #expect(error?.code == .unhealthy)

        let view = MemberView(client: change.client, instance: etcd.instance).report()
        #expect(view.problem == nil && view.isLearner == false && view.members?.count == 2)
        #expect(try change.remove(id) == "removed \(MemberView.hex(id))")
        #expect(try change.remove(id) == "\(MemberView.hex(id)) is not listed any more")
        let gone = #expect(throws: FleetError.self) { try change.promote(id) }
        #expect(gone?.code == .notFound)

        try etcd.put("/a", "1")
        var report = MemberView(client: change.client, instance: etcd.instance).report()
        try change.prove(report.revision ?? 0, &report)
        #expect(report.hashKV != nil && report.compactRevision != nil)
        // One that is somebody else's, and started, is not taken for ours.
        let taken = #expect(throws: FleetError.self) { try change.add("m9", etcd.instance.peerURLs) }
        #expect(taken?.code == .alreadyExists)
    }

    /// A dead etcd is what a replacement is for: it is told, not thrown.
    @Test func aDeadEtcdIsAnAnswer() async throws {
        let report = try await onDisk { () throws(FleetError) in
            let instance = EtcdInstance(
                topology: .externalSystemd, name: "m", dataDir: "/nonexistent", endpoint: "http://127.0.0.1:9",
                peerURLs: ["http://127.0.0.1:8"], initialCluster: "m=http://127.0.0.1:8", sources: [:])
            do {
                let tool = try RealEtcd.tools().client(for: nil)
                return MemberView(client: EtcdClient(tool: tool, instance: instance), instance: instance).report()
            } catch { throw FleetError(error) }
        }
        #expect(report.problem?.code == .unhealthy && report.memberID == nil && report.name == "m")
    }
}

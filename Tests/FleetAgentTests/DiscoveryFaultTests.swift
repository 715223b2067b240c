import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

/// What discovery must refuse, each by a name of its own and with a hint.
@Suite struct DiscoveryFaultTests {
    private static let manifest = "/etc/kubernetes/manifests/etcd.yaml"

    private func expect(_ tree: NodeTree, _ code: FleetError.Code, _ words: String..., processes: [EtcdProcess] = []) {
        let error = tree.failure(processes: processes)
        #expect(error?.code == code, "\(String(describing: error))")
        #expect(error?.hint != nil)
        for word in words { #expect(error?.message.contains(word) == true, "\(String(describing: error))") }
    }

    private func kubeadm(_ old: String, _ new: String) throws -> NodeTree {
        let tree = try NodeTree(Layouts.kubeadm)
        let changed = Layouts.kubeadmManifest.replacing(old, with: new)
        #expect(changed != Layouts.kubeadmManifest)
        try tree.write(Self.manifest, changed)
        return tree
    }

    /// A control plane of an external etcd is no node where one is missing.
    @Test func anEtcdOnOtherHosts() throws {
        func controlPlane(_ servers: String) throws -> NodeTree {
            try NodeTree([
                "/etc/kubernetes/manifests/kube-apiserver.yaml": Layouts.apiserverManifest.replacing(
                    "https://127.0.0.1:2379", with: servers)
            ])
        }
        let two = try controlPlane("https://10.0.0.5:2379,https://10.0.0.6:2379")
        expect(two, .etcdElsewhere, "10.0.0.5:2379, https://10.0.0.6", "kube-apiserver.yaml")
        expect(try controlPlane("https://10.0.0.5:2379,https://127.0.0.1:2379"), .noEtcd)
        expect(try controlPlane("https://[::1]:2379"), .noEtcd)
        // One of them is this host: its etcd is missing.
        for own in [["10.0.0.6"], ["fd00::7", "10.0.0.5"]] {
            do {
                _ = try Discovery.discover(two.files, processes: [], addresses: Set(own))
                Issue.record("no etcd is there")
            } catch { #expect(error.code == .noEtcd) }
        }
        let process = EtcdProcess(
            pid: 1_999_999_999, startTime: 1, arguments: ["/usr/bin/etcd"], environment: [:], controlGroups: [],
            sharesNamespace: true, openDataDir: nil)
        expect(two, .noEtcd, "1999999999", processes: [process])
    }

    @Test func noEtcd() throws {
        expect(try NodeTree(), .noEtcd)
        expect(try kubeadm("    - etcd\n", "    - etcd-proxy\n"), .noEtcd)
    }

    @Test func severalEtcds() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        try tree.write("/etc/kubernetes/manifests/etcd.yaml.bak", Layouts.kubeadmManifest)
        expect(tree, .severalEtcds, "etcd.yaml.bak")
        try FileSystem.remove(tree.root + "/etc/kubernetes/manifests/etcd.yaml.bak")
        for (path, text) in Layouts.debian { try tree.write(path, text) }
        // Installed and not enabled: it does not start.
        #expect(tree.failure() == nil)
        _ = try Subprocess.check("/bin/mkdir", ["-p", tree.root + "/etc/systemd/system/multi-user.target.wants"])
        try tree.write("/etc/systemd/system/multi-user.target.wants/etcd.service", "")
        expect(tree, .severalEtcds, "etcd.service")
    }

    @Test func argumentsWithoutCommand() throws {
        expect(try kubeadm("  - command:\n    - etcd\n", "  - args:\n"), .manifestArgs, "etcd.yaml:11")
        let both = try kubeadm("    - etcd\n", "    - /usr/local/bin/etcd\n    args:\n")
        #expect(both.failure() == nil)
    }

    @Test func missingHostPath() throws {
        expect(try kubeadm("mountPath: /var/lib/etcd", "mountPath: /var/lib/other"), .missingHostPath, "--data-dir")
        expect(
            try kubeadm(
                "  - hostPath:\n      path: /var/lib/etcd   # the data\n      type: DirectoryOrCreate\n",
                "  - emptyDir: {}\n"), .missingHostPath, "etcd-data")
        expect(try kubeadm("      path: /var/lib/etcd   # the data\n", ""), .missingHostPath, "etcd-data")
        expect(try kubeadm("    name: etcd-data\nstatus", "    name: other\nstatus"), .missingHostPath, "not defined")
        expect(try kubeadm("mountPath: /etc/kubernetes/pki/etcd", "mountPath: /pki"), .missingHostPath, "file")
    }

    @Test func quotedAndCommentedValues() throws {
        let tree = try kubeadm(
            "    - --data-dir=/var/lib/etcd\n", "    - '--data-dir'\n    - \"/var/lib/etcd\" # here\n")
        #expect(try tree.discover().instance.dataDir == "/var/lib/etcd")
        let commented = try kubeadm("    - --name=cp1\n", "    # - --name=old\n    - \"--name=cp1\"\n")
        #expect(try commented.discover().instance.name == "cp1")
        let environment = try NodeTree(Layouts.kubespray)
        try environment.write(
            "/etc/etcd.env",
            Layouts.kubespray["/etc/etcd.env"]!.replacing(
                "ETCD_DATA_DIR=/var/lib/etcd", with: "; ETCD_DATA_DIR=/no\n  ETCD_DATA_DIR = '/var/lib'\"/etcd\"  "))
        #expect(try environment.discover().instance.dataDir == "/var/lib/etcd")
    }

    @Test func unreadableFiles() throws {
        expect(try kubeadm("kind: Pod", "kind: [Pod"), .unreadableManifest, "etcd.yaml:")
        expect(try kubeadm("spec:\n", "spec: {}\nspec:\n"), .settingTwice, "spec")
        let tree = try NodeTree(Layouts.kubeadm)
        try tree.write("/etc/kubernetes/manifests/README", "not: [yaml")
        #expect(tree.failure() == nil)
    }

    @Test func configurationFileThatSetsItTwice() throws {
        let tree = try NodeTree(Layouts.configFile)
        try tree.write("/etc/etcd/etcd.conf.yml", "data-dir: /a\nname: x\ndata-dir: /b\n")
        expect(tree, .settingTwice, "data-dir", "line 1", "line 3")
        try tree.write("/etc/etcd/etcd.conf.yml", "data-dir: [/a]\n")
        expect(tree, .unreadableConfiguration)
        try FileSystem.remove(tree.root + "/etc/etcd/etcd.conf.yml")
        expect(tree, .unreadableConfiguration, "does not exist")
    }

    @Test func settingsGivenTwice() throws {
        let tree = try NodeTree(Layouts.kubespray)
        let text = Layouts.kubespray["/etc/etcd.env"]!
        try tree.write("/etc/etcd.env", text + "\nETCD_DATA_DIR=/second\n")
        expect(tree, .settingTwice, "ETCD_DATA_DIR")
        expect(try kubeadm("    - --name=cp1\n", "    - --name=cp1\n    - --name=cp2\n"), .settingTwice, "--name")
    }

    @Test func missingCertificates() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        try FileSystem.remove(tree.root + "/etc/kubernetes/pki/etcd/server.key")
        expect(tree, .missingCertificate, "server.key")
        expect(try kubeadm("    - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt\n", ""), .missingCertificate)
    }

    /// Nobody should have to copy private keys to look at a configuration.
    @Test func aCopyWithoutTheKeysDirectory() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        try FileSystem.removeTree(tree.root + "/etc/kubernetes/pki")
        #expect(try Discovery.discover(root: tree.root).instance.key == "/etc/kubernetes/pki/etcd/server.key")
    }

    @Test func unitsThatCanNotBeFollowed() throws {
        func unit(_ text: String) throws -> NodeTree {
            try NodeTree(["/etc/systemd/system/etcd.service": "[Service]\n" + text])
        }
        expect(try unit("ExecStart=/bin/sh -c 'cd /x; exec etcd'\n"), .unsupportedUnit)
        expect(try unit("ExecStart=/bin/sh -c 'etcd --data-dir=$(cat /x)'\n"), .settingUnresolved)
        expect(try unit("RootDirectory=/x\nExecStart=/usr/bin/etcd\n"), .unsupportedUnit)
        expect(try unit("EnvironmentFile=/nowhere\nExecStart=/usr/bin/etcd\n"), .unreadableConfiguration)
        expect(try unit("Environment=ETCD_NAME=%q\nExecStart=/usr/bin/etcd\n"), .settingUnresolved)
        expect(try unit("ExecStart=/bin/sh -c 'etcdctl snapshot save /x; rm /y'\n"), .noEtcd)
    }

    @Test func processAndFiles() throws {
        let tree = try NodeTree(Layouts.kubespray)
        let text = Layouts.kubespray["/etc/etcd.env"]!
        var environment: [String: String] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "=", maxSplits: 1)
            environment[String(parts[0])] = String(parts[1])
        }
        var process = EtcdProcess(
            pid: 1_999_999_999, startTime: 1, arguments: ["/usr/local/bin/etcd"], environment: environment,
            controlGroups: ["/system.slice/etcd.service"], sharesNamespace: true, openDataDir: nil)
        #expect(try tree.discover(processes: [process]).instance.pid == process.pid)
        // Where it works is known, and then it ended: etcd that can't start does so every few seconds.
        process.openDataDir = "/var/lib/etcd"
        #expect(try tree.discover(processes: [process]).instance.pid == process.pid)
        process.pid = getpid()
        expect(tree, .filesAndProcessDiffer, "data-dir /var/lib/etcd", processes: [process])
        (process.pid, process.openDataDir) = (1_999_999_999, nil)
        process.environment["ETCD_DATA_DIR"] = "/var/lib/etcd-old"
        expect(tree, .filesAndProcessDiffer, "/var/lib/etcd-old", "/etc/etcd.env:2", processes: [process])
        process.controlGroups = ["/user.slice"]
        expect(tree, .filesAndProcessDiffer, processes: [process])
        expect(try NodeTree(), .noEtcd, "1999999999", processes: [process])
    }

    /// Whoever may make a group of that name below their own session is not the unit.
    @Test(arguments: [
        ("/system.slice/etcd.service", true), ("/lab/n1/system.slice/etcd.service", true),
        ("/system.slice/system-etcd.slice/etcd.service", true), ("/etcd.slice/etcd.service", true),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/etcd.service", false),
        ("/user.slice/user-1000.slice/user@1000.service/system.slice/etcd.service", false),
        ("/user.slice/etcd.service", false), ("/system.slice/other.service/etcd.service", false),
        ("/etcd.service", false), ("/system.slice/etcd.service.d", false),
    ])
    func controlGroups(path: String, belongs: Bool) {
        let process = EtcdProcess(
            pid: 1_999_999_999, startTime: 1, arguments: ["etcd"], environment: [:], controlGroups: ["/", path],
            sharesNamespace: true, openDataDir: nil)
        #expect(process.belongs(to: "etcd.service") == belongs)
    }

    /// A name is no reason for root to execute what a process brings along.
    @Test func onlyTheNodesOwnEtcdIsTrusted() throws {
        let tree = try NodeTree(["/data/member/snap/db": "x", "/other/member/snap/db": "x"])
        func start(_ prefix: String) throws -> Int32 {
            let script = "\(prefix) sleep 20 9<\(tree.root)/data/member/snap/db > /dev/null 2>&1 < /dev/null & echo $!"
            let started = try Subprocess.check("/bin/bash", ["-c", script])
            let pid = try #require(Int32(started.outputText.split(separator: "\n")[0]))
            let became = try Waiting.until(5) { () throws(FleetError) in
                try FileSystem.readText("/proc/\(pid)/cmdline").hasPrefix("sleep")
            }
            #expect(became)
            return pid
        }
        let root = try start("exec")
        let stranger = try start("exec setpriv --reuid 65534 --regid 65534 --clear-groups")
        defer { for pid in [root, stranger] { kill(pid, SIGKILL) } }
        #expect(ProcessTrust.holds(root, dataDir: nil))
        #expect(!ProcessTrust.holds(stranger, dataDir: nil))
        #expect(!ProcessTrust.holds(stranger, dataDir: tree.root + "/other"))
        #expect(ProcessTrust.holds(stranger, dataDir: tree.root + "/data"))
        // The same path on the stranger's side, but another file.
        try FileSystem.rename(tree.root + "/data", to: tree.root + "/moved")
        try FileSystem.rename(tree.root + "/other", to: tree.root + "/data")
        #expect(!ProcessTrust.holds(stranger, dataDir: tree.root + "/data"))
    }

    @Test func staticPodProcesses() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        let flags = try tree.discover().launch.arguments.map(\.text)
        var process = EtcdProcess(
            pid: 1_999_999_999, startTime: 1, arguments: ["etcd"] + flags, environment: [:],
            controlGroups: ["/kubepods/burstable/pod1/abc"], sharesNamespace: false, openDataDir: nil)
        #expect(try tree.discover(processes: [process]).instance.pid == process.pid)
        // Another etcd in a pod of somebody's is not this one.
        var stranger = process
        stranger.pid -= 1
        stranger.arguments = ["etcd", "--name=calico"]
        #expect(try tree.discover(processes: [stranger, process]).instance.pid == process.pid)
        process.arguments = ["etcd"] + flags.map { $0.hasPrefix("--name") ? "--name=before" : $0 }
        expect(tree, .filesAndProcessDiffer, "before", "etcd.yaml:22", processes: [process])
    }
}

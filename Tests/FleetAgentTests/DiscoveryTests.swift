import FleetProtocol
import FleetSystem
import Testing

@testable import FleetAgent

@Suite struct DiscoveryTests {
    @Test func kubeadm() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        let found = try tree.discover().instance
        #expect(found.topology == .stacked)
        #expect(found.name == "cp1")
        #expect(found.dataDir == "/var/lib/etcd")
        #expect(found.walDir == nil)
        #expect(found.endpoint == "https://127.0.0.1:2379")
        #expect(found.cacert == "/etc/kubernetes/pki/etcd/ca.crt")
        #expect(found.cert == "/etc/kubernetes/pki/etcd/server.crt")
        #expect(found.key == "/etc/kubernetes/pki/etcd/server.key")
        #expect(found.peerURLs == ["https://10.0.0.11:2380"])
        #expect(found.initialCluster == "cp1=https://10.0.0.11:2380")
        #expect(found.manifest == "/etc/kubernetes/manifests/etcd.yaml")
        #expect(found.sources["name"] == "/etc/kubernetes/manifests/etcd.yaml:22 (--name)")
        #expect(
            found.sources["dataDir"] == "/etc/kubernetes/manifests/etcd.yaml:39 (hostPath of volume etcd-data)")
        try FileSystem.remove(tree.root + "/etc/kubernetes/manifests/kube-apiserver.yaml")
        #expect(try tree.discover().instance.topology == .externalStaticPod)
    }

    @Test func debian() throws {
        let tree = try NodeTree(Layouts.debian, links: Layouts.debianLinks)
        let found = try tree.discover().instance
        #expect(found.topology == .externalSystemd)
        #expect(found.unit == "etcd.service")
        #expect(found.name == "node-b")
        #expect(found.dataDir == "/var/lib/etcd/default")
        #expect(found.sources["dataDir"] == "/lib/systemd/system/etcd.service:6 (ETCD_DATA_DIR)")
        #expect(found.endpoint == "http://127.0.0.1:2379")
        #expect(found.peerURLs == ["http://10.0.0.12:2380"])
        #expect(found.cacert == nil)
        try tree.write("/etc/default/etcd", "DAEMON_ARGS='--data-dir /data --name x'\nETCD_DATA_DIR=\n")
        // The unit sets ETCD_NAME too: etcd would not start.
        #expect(tree.failure()?.code == .settingTwice)
        try tree.write("/etc/default/etcd", "DAEMON_ARGS='--data-dir /data --name x'\nETCD_DATA_DIR=\nETCD_NAME=\n")
        let flags = try tree.discover()
        #expect(flags.instance.dataDir == "/data")
        #expect(flags.instance.sources["dataDir"] == "/etc/default/etcd:1 (--data-dir)")
        #expect(flags.dataDir.origin.range == 24..<29)
    }

    @Test func rpm() throws {
        let found = try NodeTree(Layouts.rpm).discover()
        #expect(found.instance.name == "default")
        #expect(found.instance.dataDir == "/var/lib/etcd/default.etcd")
        #expect(found.instance.sources["dataDir"] == "/etc/etcd/etcd.conf:2 (--data-dir)")
        #expect(found.dataDir.origin.range != nil)
        #expect(found.instance.endpoint == "http://localhost:2379")
    }

    @Test func kubespray() throws {
        let found = try NodeTree(Layouts.kubespray).discover().instance
        #expect(found.endpoint == "https://127.0.0.1:2379")
        #expect(found.cert == "/etc/ssl/etcd/ssl/member-node1.pem")
        #expect(found.initialClusterToken == "k8s_etcd")
        #expect(found.sources["dataDir"] == "/etc/etcd.env:2 (ETCD_DATA_DIR)")
    }

    @Test func configurationFileRulesOutAllElse() throws {
        let found = try NodeTree(Layouts.configFile).discover().instance
        #expect(found.name == "m1")
        #expect(found.dataDir == "/srv/etcd")
        #expect(found.walDir == nil)
        #expect(found.endpoint == "http://10.0.0.14:2379")
        #expect(found.sources["dataDir"] == "/etc/etcd/etcd.conf.yml:3 (data-dir)")
    }

    @Test func upstreamAndFlags() throws {
        let upstream = try NodeTree(Layouts.upstream).discover().instance
        #expect(upstream.name == "4d1f")
        #expect(upstream.walDir == "/fast disk/wal")
        let flags = try NodeTree(Layouts.unitFlags).discover().instance
        #expect(flags.name == "n1")
        #expect(flags.dataDir == "/srv/data/n1")
        #expect(flags.walDir == "/wal/n1")
        #expect(flags.initialCluster == "n1=http://localhost:2380")
        #expect(flags.sources["initialCluster"] == "etcd's default")
    }

    @Test func dropInsOverrideAndReset() throws {
        let tree = try NodeTree(Layouts.kubespray)
        try tree.write(
            "/usr/lib/systemd/system/etcd.service.d/20-a.conf", "[Service]\nEnvironment=ETCD_NAME=ignored-by-file\n")
        try tree.write("/etc/systemd/system/etcd.service.d/10-b.conf", "[Service]\nEnvironmentFile=\n")
        try tree.write(
            "/etc/systemd/system/etcd.service.d/30-c.conf",
            "[Service]\nEnvironment=ETCD_DATA_DIR=/three\nExecStart=\nExecStart=/usr/local/bin/etcd --name=dropped\n")
        #expect(tree.failure()?.code == .settingTwice)
        try tree.write("/usr/lib/systemd/system/etcd.service.d/30-c.conf", "[Service]\nEnvironment=ETCD_DATA_DIR=/no\n")
        try tree.write("/etc/systemd/system/etcd.service.d/20-a.conf", "")
        let found = try tree.discover().instance
        #expect(found.name == "dropped")
        #expect(found.sources["dataDir"] == "/etc/systemd/system/etcd.service.d/30-c.conf:2 (ETCD_DATA_DIR)")
    }

    @Test func linksStayInsideTheRoot() throws {
        let tree = try NodeTree(
            [
                "/opt/manifests/pod": Layouts.kubeadmManifest, "/real/pki/ca.crt": "", "/real/pki/server.crt": "",
                "/real/pki/server.key": "",
                "/var/lib/kubelet/config.yaml":
                    "kind: KubeletConfiguration\nstaticPodPath: /etc/kubernetes/manifests\n",
            ],
            links: [
                "/etc/kubernetes/manifests": "/opt/../opt/manifests",
                "/etc/kubernetes/pki/etcd": "../../../../../../real/pki",
            ])
        #expect(try tree.discover().instance.manifest == "/etc/kubernetes/manifests/pod")
    }

    @Test func staticPodPathDecides() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        try tree.write("/var/lib/kubelet/config.yaml", "staticPodPath: /srv/pods\n")
        #expect(tree.failure()?.code == .noEtcd)
        try tree.write("/srv/pods/any-name", "---\nkind: ConfigMap\n---\n" + Layouts.kubeadmManifest)
        #expect(try tree.discover().instance.sources["manifest"] == "/var/lib/kubelet/config.yaml:1 (staticPodPath)")
        try tree.write(
            "/lib/systemd/system/kubelet.service",
            "[Service]\nEnvironment=\"ARGS=--config=/srv/kubelet.conf\"\nExecStart=/usr/bin/kubelet $ARGS\n")
        try tree.write("/srv/kubelet.conf", "staticPodPath: /etc/kubernetes/manifests\n")
        #expect(try tree.discover().instance.manifest == "/etc/kubernetes/manifests/etcd.yaml")
    }

    @Test func mapsPathsBelowAMount() throws {
        let tree = try NodeTree(Layouts.kubeadm)
        let manifest = Layouts.kubeadmManifest
            .replacing("--data-dir=/var/lib/etcd", with: "--data-dir=/data/member-1\n    - --wal-dir=/data/wal")
            .replacing("mountPath: /var/lib/etcd", with: "mountPath: /data/")
            .replacing("path: /var/lib/etcd ", with: "path: \"/mnt/disk\" ")
        try tree.write("/etc/kubernetes/manifests/etcd.yaml", manifest)
        let found = try tree.discover()
        #expect(found.instance.dataDir == "/mnt/disk/member-1")
        #expect(found.instance.walDir == "/mnt/disk/wal")
        #expect(found.dataDir.volume?.below == "/member-1")
    }

    @Test func reportsEveryField() throws {
        let text = DiscoveryReport.text(try NodeTree(Layouts.kubeadm).discover().instance)
        #expect(text.contains("dataDir"))
        #expect(text.contains("/etc/kubernetes/manifests/etcd.yaml:39"))
        #expect(!text.contains(" \n"))
    }
}

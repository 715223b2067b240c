import FleetCrypto
import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

/// What is collected of a node's configuration, and what is not.
@Suite struct ConfigurationTests {
    private static let apiserver = """
        apiVersion: v1
        kind: Pod
        metadata:
          name: kube-apiserver
        spec:
          containers:
          - name: kube-apiserver
            command:
            - kube-apiserver
            - --encryption-provider-config=/etc/kubernetes/enc/config.yaml
            - --audit-policy-file
            - /policy/audit.yaml
            - --audit-log-path=/var/log/kubernetes/audit.log
            - --oidc-ca-file=/inside/only.crt
            - --tls-cert-file=/etc/kubernetes/pki/apiserver.crt
            volumeMounts:
            - {mountPath: /etc/kubernetes/enc, name: enc}
            - {mountPath: /policy, name: policy}
            - {mountPath: /etc/kubernetes/pki, name: pki}
          volumes:
          - {name: enc, hostPath: {path: /srv/secrets/enc}}
          - {name: policy, hostPath: {path: /srv/policy}}
          - {name: pki, hostPath: {path: /etc/kubernetes/pki}}

        """

    private func stacked(_ more: [String: String] = [:], links: [String: String] = [:]) throws -> NodeTree {
        var files = Layouts.kubeadm
        files["/etc/kubernetes/manifests/kube-apiserver.yaml"] = Self.apiserver
        files["/srv/secrets/enc/config.yaml"] = "kind: EncryptionConfiguration"
        files["/srv/policy/audit.yaml"] = "kind: Policy"
        files["/etc/kubernetes/pki/ca.key"] = "-----BEGIN PRIVATE KEY-----\nx"
        files["/etc/kubernetes/pki/etcd/peer.key"] = "peer"
        files["/etc/kubernetes/admin.conf"] = "kind: Config"
        files["/var/lib/kubelet/config.yaml"] = "staticPodPath: /etc/kubernetes/manifests"
        files.merge(more) { $1 }
        return try NodeTree(files, links: links)
    }

    private func collect(_ tree: NodeTree) throws -> Bundle { try Configuration.read(try tree.discover()).bundle() }

    private func leftOut(_ bundle: Bundle) -> [String] { bundle.manifest.leftOut.map(\.path) }

    @Test func aStackedControlPlane() throws {
        let tree = try stacked()
        let bundle = try collect(tree)
        let kinds = Dictionary(uniqueKeysWithValues: bundle.manifest.files.map { ($0.path, $0.kind) })
        #expect(
            kinds == [
                "/etc/kubernetes/admin.conf": "kubeconfig", "/etc/kubernetes/manifests/etcd.yaml": "manifest",
                "/etc/kubernetes/manifests/kube-apiserver.yaml": "manifest", "/etc/kubernetes/pki/ca.key": "pki",
                "/etc/kubernetes/pki/etcd/ca.crt": "pki", "/etc/kubernetes/pki/etcd/peer.key": "pki",
                "/etc/kubernetes/pki/etcd/server.crt": "pki", "/etc/kubernetes/pki/etcd/server.key": "pki",
                "/srv/policy/audit.yaml": "control-plane", "/srv/secrets/enc/config.yaml": "encryption",
                "/var/lib/kubelet/config.yaml": "kubelet",
            ])
        let secrets = bundle.manifest.files.filter(\.holdsSecret).map(\.path)
        #expect(secrets == ["/etc/kubernetes/pki/ca.key", "/srv/secrets/enc/config.yaml"])
        // What no volume brings in, and what a flag names and nobody has put there.
        #expect(leftOut(bundle) == ["/etc/kubernetes/pki/apiserver.crt", "/inside/only.crt"])
        for (file, bytes) in zip(bundle.manifest.files, bundle.contents) {
            #expect(try FileSystem.read(tree.root + file.path) == bytes)
        }
    }

    private static let encryption = """
        apiVersion: apiserver.config.k8s.io/v1
        kind: EncryptionConfiguration
        resources:
        - resources: [secrets]
          providers:
          - aescbc: {keys: [{name: key1, secret: c2VjcmV0LWtleQ==}, {name: "key2:x", secret: c2VjcmV0LWtleQ==}]}
          - kms: {apiVersion: v2, name: mykms, endpoint: unix:///run/kms.sock}
          - identity: {}
        - resources: [configmaps]
          providers:
          - secretbox: {keys: [{name: key1, secret: c2VjcmV0LWtleQ==}]}
          - aescbc: {keys: [{name: key1, secret: c2VjcmV0LWtleQ==}]}
          - later: {keys: [{name: key1}]}

        """

    /// Of the encryption-at-rest configuration names are told, wherever it lies, and no secret.
    @Test func whatDecryptsIsTold() throws {
        let tree = try stacked([
            "/srv/secrets/enc/config.yaml": Self.encryption, "/etc/kubernetes/pki/enc.yaml": Self.encryption,
        ])
        let manifest = try collect(tree).manifest
        let names = ["aescbc/key1", "aescbc/key2", "kms/mykms", "secretbox/key1"]
        let found = manifest.files.filter(\.decrypts)
        #expect(found.map(\.path) == ["/etc/kubernetes/pki/enc.yaml", "/srv/secrets/enc/config.yaml"])
        #expect(found.allSatisfy { $0.encryptionKeys == names && $0.holdsSecret })
        #expect(manifest.decrypts && manifest.encryptionKeys == names)
        #expect(try !JSON.text(manifest).contains("c2VjcmV0"))
        // One of the files can't be read: what is there is not known.
        try tree.write("/srv/secrets/enc/config.yaml", "kind: EncryptionConfiguration")
        let unread = try collect(tree).manifest
        #expect(unread.decrypts && unread.encryptionKeys == nil)
    }

    @Test(
        arguments: [
            ("", nil), ("kind: EncryptionConfiguration", nil), ("kind: Policy # EncryptionConfig\nresources: []", nil),
            ("kind: EncryptionConfiguration\nresources: [", nil), ("kind: EncryptionConfig\nresources: []", []),
            (#"{"kind":"EncryptionConfiguration","resources":[{"providers":[{"identity":{}}]}]}"#, []),
            (
                #"{"kind":"EncryptionConfiguration","resources":[{"providers":[{"aesgcm":{"keys":[{"name":"a b"}]}}]}]}"#,
                ["aesgcm"]
            ),
            (
                "kind: EncryptionConfig\nresources: [{providers: [aescbc, {kms: x}, {aescbc: {keys: [1]}}]}]",
                ["aescbc", "kms"]
            ),
        ] as [(String, [String]?)])
    func encryptionConfigurations(text: String, keys: [String]?) {
        #expect(EncryptionConfiguration.keys(Array(text.utf8), path: "/x") == keys)
    }

    @Test func theSameContentIsTheSameBytes() throws {
        let tree = try stacked()
        let first = try collect(tree).encoded()
        #expect(try collect(tree).encoded() == first)
        #expect(try Bundle.decode(first).encoded() == first)
        try tree.write("/etc/kubernetes/pki/sa.key", "new")
        let second = try collect(tree).encoded()
        #expect(second != first)
        #expect(try Bundle.decode(second).manifest.files.contains { $0.path == "/etc/kubernetes/pki/sa.key" })
    }

    @Test func etcdOfAUnit() throws {
        let tree = try NodeTree(Layouts.kubespray)
        let found = try tree.discover()
        let plan = ConfigurationPlan(found, tree.files)
        let paths = plan.sources.filter { [.etcd, .unit].contains($0.kind) }.map(\.path)
        guard case .unit(let unit) = found.launch.kind else { return #expect(Bool(false), "no unit") }
        #expect(paths.contains(unit.fragment))
        for file in try unit.environmentFiles() { #expect(paths.contains(file)) }
        for path in [found.instance.cacert, found.instance.cert, found.instance.key] {
            #expect(path == nil || paths.contains(path!))
        }
    }

    /// Where no etcd is found, the rest counts all the same.
    @Test func withoutAnEtcd() throws {
        let tree = try NodeTree(["/etc/kubernetes/pki/ca.crt": "ca", "/etc/kubernetes/kubelet.conf": "c"])
        let bundle = try Configuration.read(nil, files: tree.files).bundle()
        #expect(bundle.manifest.files.map(\.path) == ["/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"])
        #expect(try Configuration.read(nil, files: try NodeTree().files).bundle().isEmpty)
    }

    @Test func whatIsTooLargeIsNamed() throws {
        let big = String(repeating: "x", count: BundleLimits.file + 1)
        let whole = String(repeating: "y", count: BundleLimits.file)
        var more = ["/etc/kubernetes/pki/big": big]
        for i in 0..<20 { more["/etc/kubernetes/pki/z\(10 + i)"] = whole }
        let bundle = try collect(try stacked(more))
        #expect(leftOut(bundle).contains("/etc/kubernetes/pki/big"))
        #expect(bundle.manifest.bytes <= BundleLimits.total)
        #expect(leftOut(bundle).contains("/etc/kubernetes/pki/z29"))
        #expect(!bundle.manifest.files.contains { $0.path.hasSuffix("/big") })
    }

    @Test func moreFilesThanABundleTakes() throws {
        var more: [String: String] = [:]
        for i in 0..<1300 { more["/etc/kubernetes/pki/f\(i)"] = "" }
        let bundle = try collect(try stacked(more))
        #expect(bundle.manifest.files.count == BundleLimits.files)
        #expect(bundle.manifest.leftOut.count == BundleLimits.leftOut && bundle.manifest.moreLeftOut > 0)
    }

    @Test func linksAreToldAndNotTaken() throws {
        let tree = try stacked(
            ["/srv/real/x.crt": "cert", "/etc/dir/a": "a"],
            links: [
                "/etc/kubernetes/pki/linked.crt": "/srv/real/x.crt", "/etc/kubernetes/pki/tree": "/etc/dir",
                "/etc/kubernetes/pki/loop": "loop", "/etc/kubernetes/pki/nowhere": "/none",
            ])
        let bundle = try collect(tree)
        let links = Dictionary(uniqueKeysWithValues: bundle.manifest.links.map { ($0.path, $0.target) })
        #expect(links["/etc/kubernetes/pki/linked.crt"] == "/srv/real/x.crt")
        let paths = bundle.manifest.files.map(\.path)
        #expect(paths.contains("/srv/real/x.crt") && !paths.contains("/etc/kubernetes/pki/linked.crt"))
        // A link is no way to a whole directory somewhere else.
        #expect(!paths.contains("/etc/dir/a") && leftOut(bundle).contains("/etc/dir"))
        #expect(leftOut(bundle).contains("/etc/kubernetes/pki/loop") && leftOut(bundle).contains("/none"))
    }

    /// Every name of a directory is taken or told of.
    @Test func namesThatAreNoText() throws {
        let tree = try stacked()
        let name = Array((tree.root + "/etc/kubernetes/pki/").utf8) + [0xff, 0xfe]
        let file = (name + [0]).map { CChar(bitPattern: $0) }.withUnsafeBufferPointer {
            open($0.baseAddress!, O_CREAT | O_WRONLY, 0o600)
        }
        try #require(file >= 0)
        close(file)
        #expect(leftOut(try collect(tree)).contains { $0.hasPrefix("/etc/kubernetes/pki/\u{fffd}") })
    }

    /// The whole directory may be a link.
    @Test func aLinkedDirectory() throws {
        let tree = try NodeTree(
            ["/data/pki/ca.crt": "ca", "/data/pki/etcd/ca.crt": "eca"], links: ["/etc/kubernetes/pki": "/data/pki"])
        let bundle = try Configuration.read(nil, files: tree.files).bundle()
        #expect(bundle.manifest.files.map(\.path) == ["/data/pki/ca.crt", "/data/pki/etcd/ca.crt"])
        #expect(bundle.manifest.links == [.init(path: "/etc/kubernetes/pki", target: "/data/pki")])
    }

    @Test func whatOthersCouldHavePutThereStays() throws {
        let tree = try stacked(["/etc/kubernetes/pki/open/a": "a", "/etc/kubernetes/pki/theirs/b": "b"])
        try FileSystem.setMode(tree.root + "/etc/kubernetes/pki/open", 0o777)
        #expect(mkfifo(tree.root + "/etc/kubernetes/pki/pipe", 0o600) == 0)
        let bundle = try collect(tree)
        #expect(leftOut(bundle).contains("/etc/kubernetes/pki/open/a"))
        #expect(leftOut(bundle).contains("/etc/kubernetes/pki/pipe"))
        guard getuid() == 0 else { return }
        // A file of root's in a directory of somebody else's; then all of it is theirs.
        #expect(lchown(tree.root + "/etc/kubernetes/pki/theirs", 1234, 1234) == 0)
        #expect(leftOut(try collect(tree)).contains("/etc/kubernetes/pki/theirs/b"))
        #expect(lchown(tree.root + "/etc/kubernetes/pki/theirs/b", 1234, 1234) == 0)
        #expect(!leftOut(try collect(tree)).contains("/etc/kubernetes/pki/theirs/b"))
    }

    /// Whoever owns a directory can't lead the agent to a file of root's by a link, whichever part of the path it is.
    @Test(.enabled(if: getuid() == 0)) func linksOfOthers() throws {
        let tree = try NodeTree(
            [
                "/etc/kubernetes/manifests/kube-apiserver.yaml": Self.apiserver, "/srv/theirs/x": "",
                "/root/secret/config.yaml": "s", "/root/secret/audit.yaml": "s", "/etc/kubernetes/pki/sub/own": "o",
                "/etc/kubernetes/pki/z.key": "z",
            ],
            links: [
                "/srv/theirs/policy": "/root/secret", "/srv/policy": "/srv/theirs/policy",
                "/srv/secrets/enc/config.yaml": "/root/secret/config.yaml",
                "/etc/kubernetes/pki/sub/l": "/root/secret/audit.yaml",
                "/etc/kubernetes/pki/sub/z": "/etc/kubernetes/pki/z.key",
            ])
        func read() throws -> Bundle { try Configuration.read(nil, files: tree.files).bundle() }
        let before = try read()
        let secrets = ["/root/secret/audit.yaml", "/root/secret/config.yaml"]
        #expect(before.manifest.files.map(\.path).filter { $0.hasPrefix("/root") } == secrets)
        for path in ["/srv/theirs", "/srv/secrets/enc", "/etc/kubernetes/pki/sub"] {
            #expect(lchown(tree.root + path, 1234, 1234) == 0)
        }
        let bundle = try read()
        #expect(!bundle.manifest.files.contains { $0.path.hasPrefix("/root") })
        #expect(Set(secrets).isSubset(of: leftOut(bundle)))
        // A link of theirs to a file keeps nobody from taking it where it is.
        #expect(bundle.manifest.files.contains { $0.path == "/etc/kubernetes/pki/z.key" })
        #expect(!leftOut(bundle).contains("/etc/kubernetes/pki/z.key"))
        // What is theirs they may show.
        #expect(lchown(tree.root + "/root/secret/config.yaml", 1234, 1234) == 0)
        #expect(try read().manifest.files.contains { $0.path == "/root/secret/config.yaml" })
    }

    /// A directory of another user's, as some installers make it: what is missing is counted, and when it ends is told.
    @Test(.enabled(if: getuid() == 0)) func aDirectoryOfAnotherUser() throws {
        let (pem, _) = try CertificateAuthority.create(name: "kubernetes", validity: .seconds(86_400 * 9), now: .now())
        let tree = try NodeTree(["/etc/kubernetes/pki/ca.crt": pem, "/etc/kubernetes/pki/ca.key": "key"])
        #expect(try Configuration.read(nil, files: tree.files).bundle().manifest.essentialLeftOut == nil)
        #expect(lchown(tree.root + "/etc/kubernetes/pki", 1234, 1234) == 0)
        let reader = Configuration.read(nil, files: tree.files)
        #expect(try reader.bundle().manifest.essentialLeftOut == 2)
        #expect(reader.certificates.map(\.path) == ["/etc/kubernetes/pki/ca.crt"])
    }

    /// What kept etcd from being found is no reason to keep less than before.
    @Test func aDiscoveryThatFails() {
        #expect(throws: FleetError(.timedOut, "x")) {
            try Configuration.collect { () throws(FleetError) in throw FleetError(.timedOut, "x") }
        }
        #expect(throws: Never.self) {
            try Configuration.collect { () throws(FleetError) in throw FleetError(.noEtcd, "x") }
        }
    }

    /// The kubelet leaves its own behind when the cluster signs the one that it serves with.
    @Test func theKubeletsOwn() throws {
        let (pem, _) = try CertificateAuthority.create(name: "n1", validity: .seconds(86_400 * 9), now: .now())
        let directory = "/var/lib/kubelet/pki/"
        let tree = try NodeTree([directory + "kubelet.crt": pem])
        #expect(Configuration.read(nil, files: tree.files).certificates.map(\.path) == [directory + "kubelet.crt"])
        try tree.write(directory + "kubelet-server-1.pem", pem)
        let link = tree.root + CertificateExpiry.kubeletServing
        _ = try Subprocess.check("/bin/ln", ["-s", "kubelet-server-1.pem", link])
        let told = Configuration.read(nil, files: tree.files).certificates.map(\.path)
        #expect(told == [directory + "kubelet-server-1.pem"])
    }

    @Test func certificatesOfFilesAndKubeconfigs() throws {
        let now = Timestamp("2026-11-24T00:00:00Z")!
        let (pem, _) = try CertificateAuthority.create(name: "kubernetes", validity: .seconds(86_400 * 9), now: now)
        let (later, _) = try CertificateAuthority.create(name: "next", validity: .seconds(86_400 * 90), now: now)
        let kubeconfig = """
            apiVersion: v1
            clusters: [{cluster: {certificate-authority-data: \(Array(later.utf8).base64)}}]
            users: [{user: {client-certificate-data: \(Array(pem.utf8).base64), client-key-data: AAAA}}]
            """
        let tree = try stacked([
            "/etc/kubernetes/pki/ca.crt": pem + later, "/etc/kubernetes/admin.conf": kubeconfig,
            "/etc/kubernetes/pki/broken.crt": "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n",
        ])
        let reader = Configuration.read(try tree.discover())
        let found = reader.certificates
        #expect(found.map(\.path) == ["/etc/kubernetes/admin.conf", "/etc/kubernetes/pki/ca.crt"])
        #expect(found.map(\.subject) == ["kubernetes", "next"])
        // Of two authorities the one that ends later: the other may have ended without harm.
        #expect(found.allSatisfy { $0.isAuthority == true })
        #expect(found[1].notAfter > found[0].notAfter)
        let admin = try reader.bundle().manifest.files.first { $0.path == "/etc/kubernetes/admin.conf" }
        #expect(admin?.holdsSecret == true)
    }

    @Test func flagsThatTakeFiles() {
        let found = ConfigurationPlan.namedFiles([
            "kube-scheduler", "--config=/a/b.yaml", "--kubeconfig", "/c.conf", "--audit-log-path=/var/log/x",
            "--profiling=false", "--etcd-cafile=/d", "--requestheader-client-ca-file=/e/../f", "--v=2",
            "--log-file=/var/log/y",
        ])
        #expect(found.map(\.value) == ["/a/b.yaml", "/c.conf", "/d", "/f"])
    }
}

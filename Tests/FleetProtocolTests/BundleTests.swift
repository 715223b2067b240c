import FleetCrypto
import FleetProtocol
import FleetSystem
import Glibc
import Testing

/// Bundles that somebody else has made.
@Suite("Bundles") struct BundleTests {
    private func file(_ path: String, _ bytes: [UInt8]) -> BundleManifest.File {
        .init(
            path: path, kind: "pki", size: bytes.count, sha256: SHA256.hash(bytes).hex,
            mode: path == "/srv/x" ? 0o4640 : 0o600, owner: 0, group: 0,
            modified: 7, holdsSecret: true)
    }

    private func bundle(_ files: [(String, [UInt8])]) throws -> Bundle {
        try Bundle(BundleManifest(files: files.map { file($0.0, $0.1) }), contents: files.map(\.1))
    }

    @Test func roundTrip() throws {
        let bundle = try bundle([("/a/b", [1, 2]), ("/a/c", []), ("/d", [3])])
        let bytes = try bundle.encoded()
        #expect(try Bundle.decode(bytes) == bundle)
        for length in stride(from: 0, to: bytes.count, by: 3) {
            #expect(throws: FleetError.self, "\(length)") { try Bundle.decode(Array(bytes[..<length])) }
        }
        #expect(throws: FleetError.self) { try Bundle.decode(bytes + [0]) }
        for index in [0, 9, bytes.count - 1] {
            var other = bytes
            other[index] ^= 1
            #expect(throws: FleetError.self) { try Bundle.decode(other) }
        }
    }

    @Test(arguments: [
        ["relative"], [""], ["/"], ["/a/../b"], ["/.."], ["/a//b"], ["/a/"], ["/./a"], ["/a\n"], ["/a\u{0}b"],
        ["/a\u{1b}[2J"], ["/a\u{9b}x"], ["/b", "/a"], ["/a", "/a"], ["/a", "/a/b"], ["/a", "/a!", "/a/b"],
        ["/" + String(repeating: "x", count: 201)], ["/../\u{301}x"], ["/a\u{600}/../b"], ["/a/\u{301}x"],
    ])
    func hostilePaths(_ paths: [String]) {
        #expect(throws: FleetError.self) { try bundle(paths.map { ($0, [1]) }) }
    }

    @Test func hostileLengths() throws {
        let head = Array("FLTCONF1".utf8)
        for table in [
            #"{"version":1,"files":[{"path":"/a","kind":"k","size":-1,"sha256":"\#(SHA256.hash([]).hex)","mode":0,"owner":0,"group":0,"modified":0,"holdsSecret":false}],"links":[],"leftOut":[],"moreLeftOut":0}"#,
            #"{"version":1,"files":[{"path":"/a","kind":"k","size":9223372036854775807,"sha256":"\#(SHA256.hash([]).hex)","mode":0,"owner":0,"group":0,"modified":0,"holdsSecret":false}],"links":[],"leftOut":[],"moreLeftOut":0}"#,
            #"{"version":2,"files":[],"links":[],"leftOut":[],"moreLeftOut":0}"#, "{}", "",
        ] {
            let length = withUnsafeBytes(of: UInt32(table.utf8.count).bigEndian, Array.init)
            #expect(throws: FleetError.self) { try Bundle.decode(head + length + Array(table.utf8)) }
        }
        #expect(throws: FleetError.self) { try Bundle.decode(head + [255, 255, 255, 255, 1]) }
    }

    @Test func aTreeOfIts() throws {
        let root = "/tmp/fleet-bundle-test-\(Randomness.token(10))"
        defer { try? FileSystem.removeTree(root) }
        try BundleTree.prepare(root)
        let bundle = try bundle([("/etc/kubernetes/pki/ca.key", [1, 2]), ("/srv/x", [3])])
        try BundleTree.write(bundle, of: "cp1", to: root)
        #expect(try FileSystem.read(root + "/cp1/etc/kubernetes/pki/ca.key") == [1, 2])
        try FileSystem.walk(root) { path, status throws(FleetError) in
            if [root, root + "/cp1", root + "/cp1_files.json"].contains(path) {
                #expect(status.mode & 0o077 == 0, "\(path)")
            } else if status.kind == .directory {
                #expect(status.mode == 0o755, "\(path)")
            }
        }
        #expect(try FileSystem.status(root)?.mode == 0o700 && FileSystem.status(root + "/cp1")?.mode == 0o700)
        for (file, mode) in [("/etc/kubernetes/pki/ca.key", 0o600), ("/srv/x", 0o640)] as [(String, mode_t)] {
            #expect(try FileSystem.status(root + "/cp1" + file)?.mode == mode, "\(file)")
        }
        let manifest = try JSON.decode(BundleManifest.self, from: try FileSystem.read(root + "/cp1_files.json"))
        #expect(manifest == bundle.manifest)
        #expect(throws: FleetError.self) { try BundleTree.prepare(root) }
        #expect(throws: FleetError.self) { try BundleTree.write(bundle, of: "../x", to: root) }
        // A link in its place is not followed.
        let link = root + "/link"
        _ = try Subprocess.check("/bin/ln", ["-s", "/tmp", link])
        #expect(throws: FleetError.self) { try BundleTree.prepare(link) }
        // Whoever has the directory could put others' files into it.
        guard geteuid() == 0 else { return }
        let theirs = root + "/theirs"
        try FileSystem.makeDirectories(theirs)
        #expect(lchown(theirs, 1234, 1234) == 0)
        #expect(throws: FleetError.self) { try BundleTree.prepare(theirs) }
    }

    /// A name as long as it may be, and nodes called as a table might be.
    @Test func namesOfATree() throws {
        let root = "/tmp/fleet-bundle-test-\(Randomness.token(10))"
        defer { try? FileSystem.removeTree(root) }
        try BundleTree.prepare(root)
        let long = "/etc/" + String(repeating: "x", count: 200)
        for node in ["cp1", "cp1.json", "cp1-files.json"] {
            try BundleTree.write(try bundle([(long, [1])]), of: node, to: root)
            #expect(try FileSystem.read("\(root)/\(node)\(long)") == [1])
            #expect(FileSystem.exists("\(root)/\(node)_files.json"))
        }
    }

    @Test func whatViewersSee() throws {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        let files = [
            ("/a.crt", pem + pem), ("/b.pem", pem + "-----BEGIN PRIVATE KEY-----\n"), ("/c", "token"), ("/d", ""),
            ("/e", pem + "secret\n" + pem), ("/f", "x" + pem), ("/g", pem + "-----BEGIN CERTIFICATE-----\n"),
        ]
        let bundle = try bundle(files.map { ($0.0, Array($0.1.utf8)) })
        #expect(bundle.forViewers.files.filter { !$0.sha256.isEmpty }.map(\.path) == ["/a.crt"])
        #expect(bundle.forViewers.files.map(\.size) == bundle.manifest.files.map(\.size))
    }

    /// The line of RECOVERY.md, as it stands there: what was there before keeps its mode and owner.
    @Test func theLineOfTheDocument() throws {
        let root = "/tmp/fleet-bundle-test-\(Randomness.token(10))"
        defer { try? FileSystem.removeTree(root) }
        let (tree, machine) = (root + "/nodes", root + "/machine")
        try BundleTree.prepare(tree)
        try BundleTree.write(
            try bundle([("/etc/kubernetes/manifests/etcd.yaml", [1]), ("/etc/kubernetes/pki/ca.key", [2])]), of: "cp1",
            to: tree)
        try FileSystem.makeDirectories(machine + "/etc", mode: 0o755)
        let document = #filePath.split(separator: "/Tests/")[0] + "/Coordinator/RECOVERY.md"
        let text = String(decoding: try FileSystem.read(String(document)), as: UTF8.self)
        let line = try #require(text.split(separator: "\n").first { $0.contains("tar -C /root/nodes/cp1 ") })
        let command = line.replacing("/root/nodes", with: tree).replacing("tar -C / ", with: "tar -C \(machine) ")
        _ = try Subprocess.check("/bin/sh", ["-c", String(command)])
        #expect(try FileSystem.read(machine + "/etc/kubernetes/pki/ca.key") == [2])
        #expect(try FileSystem.status(machine)?.mode == 0o755 && FileSystem.status(machine + "/etc")?.mode == 0o755)
        #expect(try FileSystem.status(machine + "/etc/kubernetes/pki/ca.key")?.mode == 0o600)
        #expect(!FileSystem.exists(machine + "/etc/kubernetes/manifests"))
    }
}

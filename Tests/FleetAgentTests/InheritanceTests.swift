import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

/// What a new directory takes over from the one that it stands in for.
@Suite struct InheritanceTests {
    /// A confined etcd opens what has its data's label, not that of a link to its data.
    @Test func theLabelIsTheDirectorysOwn() throws {
        let tree = try NodeTree(
            ["/disk/etcd/member/snap/db": "old", "/var/lib/etcd-restore-j/member/snap/db": "new"],
            links: ["/var/lib/etcd": "../../disk/etcd"])
        let (link, new) = (tree.root + "/var/lib/etcd", tree.root + "/var/lib/etcd-restore-j")
        let label = Array("u:r:etcd_t:s0\0".utf8)
        do { try Descriptor.open(tree.root + "/disk/etcd", O_RDONLY).setLabel(label) } catch {
            try Test.cancel("labels can't be set here: \(error.message)")
        }
        try Inheritance.carryOver(.init(old: link, new: new), fallback: .init(user: 0, group: 0))
        for path in [new, new + "/member", new + "/member/snap", new + "/member/snap/db"] {
            #expect(FileSystem.label(path) == label, "\(path)")
        }
    }

    /// Directories that both have get the old one's mode, all gets its owner.
    @Test func ownersAndModes() throws {
        guard geteuid() == 0 else { try Test.cancel("only root gives files away") }
        let tree = try NodeTree([
            "/old/member/snap/db": "old", "/new/member/snap/db": "new", "/new/member/wal/0.wal": "",
        ])
        let (old, new) = (tree.root + "/old", tree.root + "/new")
        try FileSystem.setMode(old + "/member", 0o750)
        #expect(lchown(old, 1234, 1235) == 0)
        try Inheritance.carryOver(.init(old: old, new: new), fallback: .init(user: 0, group: 0))
        for path in ["", "/member", "/member/snap", "/member/snap/db", "/member/wal", "/member/wal/0.wal"] {
            let status = try #require(try FileSystem.status(new + path))
            #expect(status.owner == 1234 && status.group == 1235, "\(path)")
            #expect(status.mode == (path == "/member" ? 0o750 : status.kind == .file ? 0o600 : 0o700), "\(path)")
        }
        try Inheritance.carryOver(.init(old: tree.root + "/gone", new: new), fallback: .init(user: 7, group: 8))
        #expect(try FileSystem.status(new + "/member/snap/db")?.owner == 7)
    }
}

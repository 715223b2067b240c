import FleetSystem
import Glibc
import Testing

/// What root gives to etcd's user, whose parent directory is theirs already.
@Suite(.enabled(if: geteuid() == 0)) struct HandOverTests {
    private let root = "/tmp/fleet-system-test-\(Randomness.token(12))"
    private var tree: String { root + "/tree" }
    private var victim: String { root + "/victim" }
    private let heir = FileSystem.Heir(user: 1234, group: 1234, label: nil)

    /// A tree of three directories, and one beside it whose files are none of its business.
    private func make(files: Int = 1) throws {
        for directory in [tree + "/a", tree + "/b", victim] {
            try FileSystem.makeDirectories(directory)
            for index in 0..<files { try FileSystem.writeDurably("\(directory)/f\(index)", [1]) }
        }
    }

    private func owner(_ path: String) throws -> UInt32? { try FileSystem.status(path, following: false)?.owner }

    /// Until all in it is given away nobody else can put anything there: each directory comes behind what it holds.
    @Test func theTopIsTheLast() throws {
        defer { try? FileSystem.removeTree(root) }
        try make()
        var order: [String] = []
        try FileSystem.handOver(tree, to: heir) { path in
            order.append(path)
            for above in [path, tree] { #expect((try? owner(above)) == 0, "\(above) is given away before \(path)") }
            #expect((try? owner(path + "/f0")) != 0, "\(path) goes before what it holds")
            return path == tree ? nil : 0o750
        }
        #expect(order == [tree + "/a", tree + "/b", tree])
        for path in order + [tree + "/b/f0"] { #expect(try owner(path) == 1234) }
        #expect(try FileSystem.status(tree)?.mode == 0o700 && FileSystem.status(tree + "/b")?.mode == 0o750)
        #expect(try owner(victim + "/f0") == 0)
    }

    /// A directory becomes a link while it is dealt with, and one that is still to come.
    @Test func aLinkLeadsNowhere() throws {
        defer { try? FileSystem.removeTree(root) }
        try make()
        let error = #expect(throws: FleetError.self) {
            try FileSystem.handOver(tree, to: heir) { path in
                guard path == tree + "/a" else { return nil }
                for name in ["a", "b"] {
                    #expect(rename("\(tree)/\(name)", "\(root)/\(name)") == 0)
                    #expect(symlink(victim, "\(tree)/\(name)") == 0)
                }
                return 0o777
            }
        }
        #expect(error?.code == .notHandedOver && error?.message.contains("tree/b is a symbolic link") == true)
        for path in [victim, victim + "/f0"] { #expect(try owner(path) == 0) }
        #expect(try FileSystem.status(victim)?.mode == 0o700)
        #expect(try owner(root + "/a/f0") == 1234 && owner(root + "/b/f0") == 0)
        // The tree itself.
        #expect(symlink(victim, root + "/l") == 0)
        #expect(throws: FleetError.self) { try FileSystem.handOver(root + "/l", to: heir) { _ in nil } }
        #expect(try owner(victim) == 0)
    }

    /// Where the system lets users do that.
    @Test func anotherNameOfAFileIsNotGiven() throws {
        defer { try? FileSystem.removeTree(root) }
        try make()
        #expect(link(victim + "/f0", tree + "/b/shadow") == 0)
        let error = #expect(throws: FleetError.self) { try FileSystem.handOver(tree, to: heir) { _ in nil } }
        #expect(error?.code == .notHandedOver)
        #expect(try owner(victim + "/f0") == 0 && owner(tree) == 0)
    }

    /// All the time, at any moment.
    @Test func whoeverIsFasterGetsNothing() throws {
        defer { try? FileSystem.removeTree(root) }
        try make(files: 200)
        #expect(symlink(victim, tree + "/l") == 0)
        let tree = tree
        let isOver = Monitor(false)
        Thread.start(name: "swapper") {
            while !isOver.withLock({ $0 }) {
                rename(tree + "/b", root + "/e")
                rename(tree + "/l", tree + "/b")
                rename(tree + "/b", tree + "/l")
                rename(root + "/e", tree + "/b")
            }
        }
        // It may well fail when a name is another thing than it was.
        for _ in 0..<20 { try? FileSystem.handOver(tree + "/b", to: heir) { _ in nil } }
        isOver.withLock { $0 = true }
        for name in try FileSystem.list(victim) { #expect(try owner(victim + "/" + name) == 0) }
        #expect(try owner(victim) == 0)
    }
}

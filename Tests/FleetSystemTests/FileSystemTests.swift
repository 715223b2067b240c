import FleetSystem
import Glibc
import Testing

@Suite struct FileSystemTests {
    /// The unit of an agent sets a mask that would hide a drop-in's directory from everybody else.
    @Test func newDirectoriesHaveTheirModeWhateverTheMask() throws {
        let root = "/tmp/fleet-system-test-\(Randomness.token(12))"
        defer { try? FileSystem.removeTree(root) }
        do {
            let mask = umask(0o077)
            defer { umask(mask) }
            try FileSystem.makeDirectories(root + "/etcd.service.d", mode: 0o755)
        }
        #expect(try FileSystem.status(root + "/etcd.service.d")?.mode == 0o755)
    }

    /// etcd's user owns what root removes: a directory that becomes a symbolic link meanwhile must not lead elsewhere.
    @Test func removingLeadsNowhereElse() throws {
        let root = "/tmp/fleet-system-test-\(Randomness.token(12))"
        let (tree, victim) = (root + "/tree", root + "/victim")
        for directory in [tree + "/d", victim] { try FileSystem.makeDirectories(directory) }
        defer { try? FileSystem.removeTree(root) }
        let names = (0..<300).map { "f\($0)" }
        for name in names {
            for directory in [tree + "/d", victim] {
                try Descriptor.open("\(directory)/\(name)", O_WRONLY | O_CREAT | O_EXCL).close()
            }
        }
        #expect(symlink(victim, tree + "/l") == 0)
        let isOver = Monitor(false)
        Thread.start(name: "swapper") {
            while !isOver.withLock({ $0 }) {
                rename(tree + "/d", tree + "/e")
                rename(tree + "/l", tree + "/d")
                rename(tree + "/d", tree + "/l")
                rename(tree + "/e", tree + "/d")
            }
        }
        // It may well fail when a name is another thing than it was: then nothing more is removed.
        try? FileSystem.removeTree(tree + "/d")
        isOver.withLock { $0 = true }
        #expect(try FileSystem.list(victim).count == names.count)
    }

    @Test func removingTakesAllBelow() throws {
        let root = "/tmp/fleet-system-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(root + "/tree/a/b/c")
        defer { try? FileSystem.removeTree(root) }
        try FileSystem.writeDurably(root + "/kept", [1])
        try FileSystem.writeDurably(root + "/tree/a/file", [1])
        for link in ["/tree/a/link", "/link"] { #expect(symlink(root, root + link) == 0) }
        try FileSystem.removeTree(root + "/tree")
        // A link is removed and not what it leads to, and what is not there is gone already.
        try FileSystem.removeTree(root + "/link")
        try FileSystem.removeTree(root + "/tree")
        #expect(try FileSystem.list(root) == ["kept"])
    }

    /// Whole under its name or not there, and what has the name stays; with and without a file system that keeps it
    /// unnamed meanwhile, or has hard links.
    @Test(arguments: [(true, true), (false, true), (false, false)])
    func aPendingNameIsGivenOnce(_ isUnnamed: Bool, _ hasLinks: Bool) throws {
        let root = "/tmp/fleet-system-test-\(Randomness.token(12))"
        try FileSystem.makeDirectories(root)
        defer { try? FileSystem.removeTree(root) }
        func write(_ text: String, isWhole: Bool) throws {
            let name = PendingName(root + "/a.db", isUnnamed: isUnnamed, hasLinks: hasLinks)
            let before = try FileSystem.list(root)
            let file = try name.open()
            try file.write(Array(text.utf8))
            #expect(try FileSystem.list(root).count == before.count + (isUnnamed ? 0 : 1))
            if isWhole { try name.give(to: file) }
        }
        try write("half", isWhole: false)
        #expect(try FileSystem.list(root) == [])
        try write("whole", isWhole: true)
        #expect(try FileSystem.list(root) == ["a.db"])
        #expect(try FileSystem.status(root + "/a.db")?.mode == 0o600)
        let error = #expect(throws: FleetError.self) { try write("another", isWhole: true) }
        #expect(error?.code == .alreadyExists)
        #expect(try FileSystem.list(root) == ["a.db"] && FileSystem.readText(root + "/a.db") == "whole")
    }
}

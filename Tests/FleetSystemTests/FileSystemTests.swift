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

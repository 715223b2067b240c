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
}

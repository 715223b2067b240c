import FleetSystem
import Glibc
import Testing

/// A real file system that has neither hard links nor files without a name: exFAT by FUSE, on a loop device, which Debian has
/// for every kernel. Gone when the test is.
final class LinklessDisk: Sendable {
    let path: String
    private let directory: TemporaryDirectory
    private let device: String

    /// Cancels the test where this machine can't have one.
    static func make() throws -> LinklessDisk {
        let tools = [makeFileSystem, mount, losetup]
        guard geteuid() == 0, tools.allSatisfy(FileSystem.exists), FileSystem.exists("/dev/fuse") else {
            try Test.cancel("needs root, exfat-fuse and exfatprogs, which ops/test installs, and /dev/fuse")
        }
        let directory = try TemporaryDirectory()
        let image = directory.path + "/image"
        for (program, words) in [("/usr/bin/truncate", ["-s", "64M", image]), (makeFileSystem, [image])] {
            let outcome = try Subprocess.run(program, words)
            guard outcome.succeeded else { throw FleetError(.childFailed, "\(program): \(outcome.complaint)") }
        }
        let attached = try Subprocess.run(losetup, ["-f", "--show", image])
        guard attached.succeeded else { try Test.cancel("there is no loop device: \(attached.complaint)") }
        let disk = LinklessDisk(directory, String(attached.outputText.prefix { !$0.isNewline }))
        try FileSystem.makeDirectories(disk.path)
        let mounted = try Subprocess.run(mount, [disk.device, disk.path])
        guard mounted.succeeded else { try Test.cancel("exFAT can't be mounted: \(mounted.complaint)") }
        return disk
    }

    private static let makeFileSystem = "/usr/sbin/mkfs.exfat"
    private static let mount = "/usr/sbin/mount.exfat-fuse"
    private static let losetup = "/usr/sbin/losetup"

    private init(_ directory: TemporaryDirectory, _ device: String) {
        (self.directory, self.device) = (directory, device)
        path = directory.path + "/mounted"
    }

    deinit {
        _ = try? Subprocess.run("/bin/umount", [path])
        _ = try? Subprocess.run(Self.losetup, ["-d", device])
    }
}

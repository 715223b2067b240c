import FleetSystem
import Glibc
import Testing

@testable import FleetRepository

/// A process that is really killed while it imports, at moments spread over the whole of it.
@Suite("Repository: kill -9")
struct KillTests {
    /// The benchmark's importer, which is built with the tests.
    private static let program: String? = {
        let directory = CommandLine.arguments[0].split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let path = directory.joined(separator: "/") + "/fleet-bench"
        return FileSystem.exists(path) ? path : nil
    }()

    @Test func aKilledImportLosesNothingThatWasCommitted() throws {
        guard let program = Self.program else { try Test.cancel("fleet-bench is not built") }
        let root = "/tmp/fleet-repository-kill-\(Randomness.token(10))"
        try FileSystem.makeDirectories(root)
        defer { try? FileSystem.removeTree(root) }
        let (directory, keyFile, file) = ("\(root)/r", "\(root)/key", "\(root)/s.db")
        let key = RepositoryKey.random(.master)
        _ = try Repository.create(directory, master: key)
        try FileSystem.writeDurably(keyFile, key.text.utf8)
        var series = PageSeries(pages: 600)
        var stored: [String: [UInt8]] = [:]
        var (killed, delay) = (0, UInt32(2000))
        for i in 0..<25 {
            let id = "s\(i)"
            try FileSystem.writeDurably(file, series.bytes)
            let child = try spawn([program, "repository", "import", directory, keyFile, file, id])
            usleep(delay)
            kill(child, SIGKILL)
            var status: Int32 = 0
            waitpid(child, &status, 0)
            let wasKilled = status & 0x7f == SIGKILL
            killed += wasKilled ? 1 : 0
            // Later each time, until it gets through; then from the start again.
            delay = wasKilled ? delay + delay / 3 + 2000 : 2000

            let repository = try Repository(directory, key: key)
            try repository.recover()
            if try repository.ids().contains(id) { stored[id] = series.bytes }
            #expect(try repository.ids() == stored.keys.sorted())
            for (id, bytes) in stored { #expect(try repository.bytes(id) == bytes) }
            _ = try repository.collect(dryRun: false)
            if stored[id] != nil {
                #expect(try repository.check(readData: true).isSound)
                series.change(20)
            }
        }
        #expect(killed > 5)
    }

    private func spawn(_ words: [String]) throws -> pid_t {
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in arguments { free(pointer) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        var child = pid_t()
        let result = posix_spawn(&child, words[0], &actions, nil, &arguments, environ)
        guard result == 0 else { throw FleetError(.childFailed, "\(words[0]) could not be started") }
        return child
    }
}

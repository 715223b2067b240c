import FleetSystem

/// A directory of one test's own, gone when the test is.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/fleet-sqlite-test-\(Randomness.token(10))"
        try FileSystem.makeDirectories(path)
    }
    deinit { try? FileSystem.removeTree(path) }
}

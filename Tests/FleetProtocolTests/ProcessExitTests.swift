import FleetCrypto
import FleetTLS
import Glibc
import Testing

@Suite struct ProcessExitTests {
    /// Without what `FleetCrypto` says before `main`, four of ten such processes died of a signal.
    @Test(arguments: 1...20)
    func threadsThatStillWorkDoNotFailTheExit(_ run: Int) async {
        await #expect(processExitsWith: .success) {
            for _ in 1...4 {
                var thread = pthread_t()
                _ = pthread_create(
                    &thread, nil,
                    { _ in
                        while true {
                            _ = SHA256.hash([1, 2, 3])
                            _ = try? TLSContext.enrolling()
                            _ = SecureRandom.bytes(32)
                        }
                    }, nil)
            }
            usleep(30_000)
            exit(0)
        }
    }
}

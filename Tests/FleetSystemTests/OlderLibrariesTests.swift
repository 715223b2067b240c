import FleetSystem
import Glibc
import Testing

@Suite struct OlderLibrariesTests {
    /// As the C library's, which computes in Double as well.
    @Test(
        arguments: [
            (3, 4), (-3, 4), (0, 0), (2e-38, 2e-38), (3e38, 1e38), (3e38, 3e38), (1, 1e-20), (0.1, 0.2),
            (.infinity, .nan), (.nan, -.infinity),
        ] as [(Float, Float)])
    func hypotenuseIsTheRootOfTheSquares(_ x: Float, _ y: Float) {
        #expect(hypotenuse(x, y) == Float(hypot(Double(x), Double(y))))
    }

    @Test func noNumberStaysNone() { #expect(hypotenuse(.nan, 1).isNaN && hypotenuse(1, .nan).isNaN) }
}

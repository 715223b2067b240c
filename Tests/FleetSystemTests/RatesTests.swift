import FleetSystem
import Testing

@Suite("Rates") struct RatesTests {
    @Test(
        arguments: [
            ("20MB", 20_000_000), ("20MB/s", 20_000_000), ("1.5MiB", 1_572_864), ("500kB", 500_000),
            ("1GB", 1_000_000_000),
            ("999999GB", 999_999_000_000_000), ("20", nil), ("MB", nil), ("-1MB", nil), ("1.2.3MB", nil),
            ("1e3MB", nil),
            ("20Mb", nil), ("20 MB", nil), ("20Mbit", nil), (".5MB", nil), ("", nil), ("/s", nil),
        ] as [(String, Int?)])
    func whatIsOne(_ text: String, _ rate: Int?) { #expect(Rates.parse(text) == rate) }
}

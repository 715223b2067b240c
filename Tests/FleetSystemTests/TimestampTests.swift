import FleetSystem
import Testing

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_503_310_007, "2026-11-24T06:55:10.007Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] as [(Int64, String)]) func textAndBack(_ milliseconds: Int64, _ text: String)
    {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(Timestamp(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        ("2026-11-24", "2026-11-24T00:00:00.000Z"), ("2026-11-24 06:55", "2026-11-24T06:55:00.000Z"),
        ("2026-11-24T06:55:10+01:00", "2026-11-24T05:55:10.000Z"),
        ("2026-11-24T06:55:10.5-0230", "2026-11-24T09:25:10.500Z"),
    ]) func otherForms(_ text: String, _ expected: String) { #expect(Timestamp(text)?.description == expected) }

    @Test(arguments: [
        "", "yesterday", "2026-13-01", "2026-11-24T25:00", "2026-11-24T06:55:10Zx", "2026-11-24T06:55:10.", "20261124",
    ])
    func notATime(_ text: String) { #expect(Timestamp(text) == nil) }
}

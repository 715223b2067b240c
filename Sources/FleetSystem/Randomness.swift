/// Randomness for names. Keys and nonces come from libcrypto, not from here.
public enum Randomness {
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz")  // Crockford's base 32: no i, l, o, u

    /// `count` characters of 5 random bits each, readable aloud.
    public static func token(_ count: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in alphabet[Int(generator.next() & 31)] })
    }
}

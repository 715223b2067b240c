/// Connections without a certificate that have greeted: anybody who reaches the port can make them.
actor Strangers {
    static let stay = Duration.seconds(30)
    private static let limit = 256
    private var present = 0

    /// False when there are too many already.
    func enter() -> Bool {
        guard present < Self.limit else { return false }
        present += 1
        return true
    }

    func leave() { present -= 1 }
}

/// The version of all three programs; they are built and released as one.
public enum FleetVersion {
    public static let current = "0.1.0"
}

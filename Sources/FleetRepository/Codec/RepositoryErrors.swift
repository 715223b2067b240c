public import FleetSystem

extension FleetError.Code {
    /// The bytes are not what was stored: a flipped bit, a cut file, a file under another's name.
    public static let snapshotDamaged: Self = "snapshot-damaged"
    /// No key slot of the repository opens with this key.
    public static let wrongKey: Self = "wrong-key"
}

func damaged(_ what: String) -> FleetError {
    FleetError(
        .snapshotDamaged, what, hint: "put the file back from a copy of the repository, or delete what depends on it")
}

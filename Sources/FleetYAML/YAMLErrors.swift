public import FleetSystem

extension FleetError.Code {
    /// Not YAML, or more of it than a configuration file has.
    public static let yamlSyntax: Self = "yaml-syntax"
    /// A mapping has a key twice: readers differ in which one they take.
    public static let yamlDuplicateKey: Self = "yaml-duplicate-key"
    /// Understood, but not in a form of which one value can be changed alone.
    public static let yamlNotEditable: Self = "yaml-not-editable"
}

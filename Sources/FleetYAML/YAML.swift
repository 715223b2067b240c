public import FleetSystem

/// YAML as configuration files use it, read with libyaml so that the agent sees what etcd and the kubelet see, with
/// the byte range of every value so that one can be changed and the rest of the file stays as it is.
public enum YAML {
    /// What a configuration file never exceeds; beyond it a document is refused, not followed.
    public struct Limits: Sendable {
        public var bytes = 4 << 20
        public var depth = 64
        /// Values in all documents, those counted again that aliases stand for (a few lines can expand to billions).
        public var nodes = 100_000
        public init() {}
    }

    /// The root values of all documents of a file, in order; documents without content are left out.
    ///
    /// - Parameter file: its name, for errors.
    /// - Throws: `yaml-syntax` or `yaml-duplicate-key`, with file and line.
    public static func documents(
        _ bytes: [UInt8], file: String, limits: Limits = Limits()
    ) throws(FleetError) -> [YAMLNode] {
        guard bytes.count <= limits.bytes else {
            throw FleetError(
                .yamlSyntax, "\(file) is larger than \(limits.bytes) bytes",
                hint: "this is not the configuration file that was meant")
        }
        guard !bytes.starts(with: [0xFF, 0xFE]), !bytes.starts(with: [0xFE, 0xFF]) else {
            throw FleetError(.yamlSyntax, "\(file) is UTF-16", hint: "convert \(file) to UTF-8")
        }
        var events = try YAMLEvents(bytes, file: file)
        var composer = YAMLComposer(file: file, limits: limits)
        return try composer.compose(&events)
    }

    /// The one document of a file; nil when it has no content.
    ///
    /// - Throws: as `documents`, and `yaml-syntax` when there are several.
    public static func document(
        _ bytes: [UInt8], file: String, limits: Limits = Limits()
    ) throws(FleetError) -> YAMLNode? {
        let all = try documents(bytes, file: file, limits: limits)
        guard all.count < 2 else {
            throw FleetError(
                .yamlSyntax,
                "\(file) has \(all.count) documents where one is meant (the second at line \(all[1].line))",
                hint: "leave one document in \(file)")
        }
        return all.first
    }
}

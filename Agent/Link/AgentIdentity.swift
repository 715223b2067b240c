import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import FleetTLS

/// Who this agent is and whom it obeys: made at enrolment, in `identity/` of the state directory, mode 0600.
struct AgentIdentity: Sendable {
    /// What is not a key or a certificate.
    struct Description: Codable, Sendable, Equatable {
        var cluster: String
        var node: String
        /// "host:port" of the coordinator.
        var coordinator: String
        /// Base64 of the Ed25519 public key that signs jobs.
        var jobKey: String
        /// The files of key and certificate: each renewal has its own, so that this file alone says which belong together.
        /// nil: those of an enrolment.
        var key: String?
        var certificate: String?
        /// The pair before these: a coordinator that was put back from a copy may not know the newer one yet.
        var formerKey: String?
        var formerCertificate: String?
        /// The file of the authority; nil: that of an enrolment. And that of the former pair.
        var authority: String?
        var formerAuthority: String?
    }

    let description: Description
    let directory: String

    let cluster: String
    let node: String
    let coordinator: Address
    let jobKey: VerifyingKey
    let tls: TLSContext
    let authority: X509Certificate
    /// Between which times the coordinator accepts this agent.
    let notBefore: Timestamp
    let notAfter: Timestamp

    fileprivate enum File {
        static let key = "agent.key"
        static let certificate = "agent.crt"
        static let authority = "authority.crt"
        static let description = "agent.json"
    }

    static func exists(in directory: String) -> Bool { FileSystem.exists("\(directory)/\(File.description)") }

    /// Writes what enrolment brought. The description comes last: a directory that has it is complete.
    static func save(_ result: Enrollment.Result, coordinator: Address, in directory: String) throws(FleetError) {
        guard let cluster = result.reply.cluster else {
            throw FleetError(
                .malformed, "the token is an operator's, not an agent's",
                hint: "make one with 'fleetctl agent token CLUSTER'; operators use 'fleetctl login -'")
        }
        _ = try VerifyingKey(raw: [UInt8](base64: result.reply.jobKey) ?? [])
        try FileSystem.makeDirectories(directory)
        // An identity that is being replaced must not be half old and half new after a crash.
        try FileSystem.remove("\(directory)/\(File.description)")
        try FileSystem.writeDurably("\(directory)/\(File.key)", try result.key.pem().utf8)
        try FileSystem.writeDurably("\(directory)/\(File.certificate)", result.reply.certificate.utf8)
        try FileSystem.writeDurably("\(directory)/\(File.authority)", result.reply.authority.utf8)
        let description = Description(
            cluster: cluster, node: result.reply.name, coordinator: "\(coordinator)", jobKey: result.reply.jobKey)
        try FileSystem.writeDurably("\(directory)/\(File.description)", try JSON.encode(description, pretty: true))
        removeOthers(than: [File.key, File.certificate, File.authority], in: directory)
    }

    /// Puts a renewed certificate in force. The description is the last that is written: whatever happens before, the
    /// identity is the one from before, and behind it the new one, never a key with another's certificate.
    ///
    /// - Parameter authority: another one, by which the coordinator is known from now on.
    /// - Returns: what is in force now.
    /// - Throws: `already-exists` where what is on the disk is not this identity any more.
    func renewed(
        _ key: PrivateKey, _ certificate: String, under authority: X509Certificate? = nil
    ) throws(FleetError) -> AgentIdentity {
        guard try Self.description(in: directory) == description else {
            throw FleetError(
                .alreadyExists, "this node was enrolled anew since its agent was started",
                hint: "let the agent take up its new identity: systemctl restart fleet-agent")
        }
        var next = description
        let name = "agent-\(try X509Certificate(pem: certificate).serial)"
        (next.formerKey, next.formerCertificate) = (description.files.key, description.files.certificate)
        (next.key, next.certificate) = (name + ".key", name + ".crt")
        next.formerAuthority = description.files.authority
        if let authority {
            let file = "authority-\(authority.serial).crt"
            next.authority = file
            try FileSystem.writeDurably("\(directory)/\(file)", try authority.pem().utf8)
        }
        try FileSystem.writeDurably("\(directory)/\(name).key", try key.pem().utf8)
        try FileSystem.writeDurably("\(directory)/\(name).crt", certificate.utf8)
        return try Self.put(next, in: directory)
    }

    /// With the key and certificate from before the last renewal, where they are there.
    func former() -> AgentIdentity? {
        guard description.formerKey != nil, description.formerCertificate != nil else { return nil }
        var before = description
        (before.key, before.certificate) = (description.formerKey, description.formerCertificate)
        (before.formerKey, before.formerCertificate) = (description.files.key, description.files.certificate)
        (before.authority, before.formerAuthority) = (description.formerAuthority, description.files.authority)
        return try? AgentIdentity(before, in: directory)
    }

    /// Makes this the identity on the disk, unless the node was enrolled as another agent meanwhile: that one stays.
    func keep() throws(FleetError) {
        let present = try Self.description(in: directory)
        guard present != description, present.isSameAgent(as: description) else { return }
        _ = try Self.put(description, in: directory)
    }

    private static func put(_ description: Description, in directory: String) throws(FleetError) -> AgentIdentity {
        try FileSystem.writeDurably("\(directory)/\(File.description)", try JSON.encode(description, pretty: true))
        removeOthers(
            than: [
                description.files.key, description.files.certificate, description.formerKey ?? "",
                description.formerCertificate ?? "", description.files.authority, description.formerAuthority ?? "",
            ], in: directory)
        return try AgentIdentity(description, in: directory)
    }

    static func description(in directory: String) throws(FleetError) -> Description {
        try JSON.decode(Description.self, from: try FileSystem.read("\(directory)/\(File.description)"))
    }

    /// Keys and certificates of before, or of a renewal that was cut off. One that stays harms nothing.
    private static func removeOthers(than used: [String], in directory: String) {
        for file in (try? FileSystem.list(directory)) ?? []
        where (file.hasPrefix("agent") || file.hasPrefix("authority"))
            && (file.hasSuffix(".key") || file.hasSuffix(".crt"))
            && !used.contains(file)
        {
            try? FileSystem.remove("\(directory)/\(file)")
        }
    }

    /// - Throws: `not-enrolled`, or what is wrong with the files.
    init(directory: String) throws(FleetError) {
        guard Self.exists(in: directory) else {
            throw FleetError(
                .notEnrolled, "this node is not enrolled",
                hint: "make a token with 'fleetctl agent token CLUSTER', then run 'fleet-agent enroll -' here")
        }
        try self.init(try Self.description(in: directory), in: directory)
    }

    private init(_ description: Description, in directory: String) throws(FleetError) {
        let files = description.files
        let certificate = try X509Certificate(pem: try FileSystem.readText("\(directory)/\(files.certificate)"))
        self.description = description
        self.directory = directory
        cluster = description.cluster
        node = description.node
        coordinator = try Address(description.coordinator)
        jobKey = try VerifyingKey(raw: [UInt8](base64: description.jobKey) ?? [])
        authority = try X509Certificate(pem: try FileSystem.readText("\(directory)/\(files.authority)"))
        tls = try TLSContext.client(
            identity: TLSContext.Identity(
                certificate: certificate, key: try PrivateKey(pem: try FileSystem.readText("\(directory)/\(files.key)"))
            ),
            authority: authority)
        notBefore = certificate.notBefore
        notAfter = certificate.notAfter
    }
}

extension AgentIdentity.Description {
    fileprivate var files: (key: String, certificate: String, authority: String) {
        (
            key ?? AgentIdentity.File.key, certificate ?? AgentIdentity.File.certificate,
            authority ?? AgentIdentity.File.authority
        )
    }

    /// The same agent, whatever its certificate.
    func isSameAgent(as other: AgentIdentity.Description) -> Bool {
        cluster == other.cluster && node == other.node && coordinator == other.coordinator && jobKey == other.jobKey
    }
}

extension FleetError.Code {
    static let notEnrolled: Self = "not-enrolled"
}

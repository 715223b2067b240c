internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// What a node said of itself. All of it is the word of a stranger: of bounded length, and quoted where it is shown.
struct NodeLook: Sendable, Equatable {
    struct Package: Sendable, Equatable {
        /// As dpkg has it: "installed", "config-files", "half-configured".
        var status: String
        var version: String
        var isInstalled: Bool { status == "installed" }
        /// There is something of it that a removal would take away.
        var isPresent: Bool { !["not-installed", "config-files"].contains(status) }
    }

    /// The control file of the package that is given, as the node's dpkg reads it.
    struct Given: Sendable, Equatable {
        enum Relation: String, Sendable {
            case older = "lt"
            case same = "eq"
            case newer = "gt"
        }
        var name: String
        var version: String
        var architecture: String
        /// To the one that is installed; nil where there is none.
        var relation: Relation?
    }

    struct Identity: Sendable, Equatable {
        var cluster: String
        var node: String
        var coordinator: String
        /// Fingerprints: several, while one takes another's place.
        var authorities: [String]
        /// Fingerprints of what it is known by: two behind a renewal, the former and the present one.
        var certificates: [String]
    }

    /// What an upgrade has chosen, as the agent keeps it.
    struct Upgrade: Sendable, Equatable {
        var version: String
        var sha256: String
        /// Of the program that was installed then.
        var installed: String
    }

    var host = ""
    var system = ""
    var machine = ""
    /// "2.36"; nil where there is none, or it can't be told.
    var glibc: String?
    var hasSystemd = false
    var hasAptGet = false
    /// "amd64"; nil where there is no dpkg.
    var dpkg: String?
    var package: Package?
    var given: Given?
    /// SHA-256 of the program and of the unit that were installed by hand.
    var program: String?
    var programVersion: String?
    /// The same of the package's program.
    var packaged: String?
    var unit: String?
    /// There are programs that upgrades have brought.
    var hasUpgrades = false
    /// nil also where another program was installed since: that is what the next start takes.
    var upgrade: Upgrade?
    var hasDropIns = false
    /// Where systemd has the unit from, whoever brought it; nil where it knows none.
    var fragment: String?
    var enabled = ""
    var isActive = false
    /// What runs is not what would be started now: that was replaced on the disk since, or its unit was.
    var isOutdated = false
    var hasState = false
    var identity: Identity?
    /// There is one that can't be read.
    var isIdentityDamaged = false
    /// Journals of what is in its middle.
    var unfinished: [String] = []

    var isByHand: Bool { program != nil || unit != nil }
    /// Somebody's own, or edited, or of another version.
    var hasForeignUnit: Bool { unit != nil && unit != AgentUnit.sha256 }
    /// What the agent calls this node where it is told no other name: as `fleet-agent enroll` has it.
    var defaultName: String { host.prefix { $0 != "." }.lowercased() }

    /// - Throws: `malformed` where the answer is not whole, whatever stands before and behind it.
    init(_ answer: String, marker: String) throws(FleetError) {
        let lines = answer.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        guard let begin = lines.lastIndex(of: "begin \(marker)"),
            let end = lines[begin...].firstIndex(of: "end \(marker)")
        else {
            throw FleetError(
                .malformed, "the node's answer is not whole",
                hint: "a shell must let 'sh -s' through; see what it prints: ssh HOST true")
        }
        var values: [String: String] = [:]
        for line in lines[(begin + 1)..<end] {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[1].isEmpty else { continue }
            let isLong = ["identity", "authority", "certificates", "unfinished", "choice"].contains(parts[0])
            values[String(parts[0])] = String(parts[1].prefix(isLong ? 30_000 : 200))
        }
        self.init(values)
    }

    private init(_ values: [String: String]) {
        func words(_ key: String) -> [String] { values[key]?.split(separator: " ").map(String.init) ?? [] }
        host = values["host"] ?? ""
        system = values["system"] ?? ""
        machine = values["machine"] ?? ""
        if words("glibc").first == "glibc" { glibc = words("glibc").last }
        hasSystemd = values["systemd"] == "yes"
        hasAptGet = values["apt"] == "yes"
        dpkg = values["dpkg"]
        if words("package").count == 2 { package = Package(status: words("package")[0], version: words("package")[1]) }
        if words("given").count == 3 {
            let given = words("given")
            self.given = Given(
                name: given[0], version: given[1], architecture: given[2],
                relation: values["relation"].flatMap(Given.Relation.init))
        }
        program = values["program"]
        programVersion = words("program-version").last
        packaged = values["packaged"]
        unit = values["unit"]
        hasUpgrades = values["upgrades"] == "yes"
        hasDropIns = values["drop-ins"] == "yes"
        fragment = values["fragment"]
        enabled = values["enabled"] ?? ""
        isActive = values["active"] == "active"
        let choice = Self.choice(values["choice"])
        upgrade = choice.flatMap { choice in
            [program, packaged].contains(choice.installed) ? choice : nil
        }
        let executable = values["executable"] ?? ""
        isOutdated =
            isActive
            && (values["reload"] == "yes" || executable.hasSuffix(" (deleted)")
                // Of an upgrade, and another program was installed since.
                || choice != nil && upgrade == nil && executable.hasPrefix(NodeScript.upgrades + "/"))
        hasState = values["state"] == "yes"
        unfinished = words("unfinished")
        if let text = values["identity"] {
            identity = Self.identity(text, values["authority"] ?? "", values["certificates"] ?? "")
            isIdentityDamaged = identity == nil
        }
    }

    /// nil: no upgrade has chosen anything, or it can't be read, and then the agent sees to that.
    private static func choice(_ text: String?) -> Upgrade? {
        struct Choice: Decodable {
            struct Program: Decodable {
                struct Record: Decodable {
                    var version: String
                    var sha256: String
                }
                var record: Record
                var installed: String
            }
            var chosen: Program?
        }
        guard let text, let bytes = [UInt8](base64: text), let choice = try? JSON.decode(Choice.self, from: bytes),
            let chosen = choice.chosen
        else { return nil }
        return Upgrade(
            version: String(chosen.record.version.prefix(64)), sha256: chosen.record.sha256, installed: chosen.installed
        )
    }

    private static func identity(_ description: String, _ authority: String, _ certificates: String) -> Identity? {
        struct Description: Decodable {
            var cluster: String
            var node: String
            var coordinator: String
        }
        func fingerprints(_ text: String) -> [String]? {
            guard let pem = [UInt8](base64: text) else { return nil }
            return try? X509Certificate.all(pem: String(decoding: pem, as: UTF8.self)).map(\.fingerprint)
        }
        guard let bytes = [UInt8](base64: description),
            let description = try? JSON.decode(Description.self, from: bytes),
            let authorities = fingerprints(authority), let certificates = fingerprints(certificates)
        else { return nil }
        return Identity(
            cluster: description.cluster, node: description.node, coordinator: description.coordinator,
            authorities: authorities, certificates: certificates)
    }
}

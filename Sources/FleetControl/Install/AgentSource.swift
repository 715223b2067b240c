internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

/// The agent that is to be installed: a Debian package, or the program alone.
struct AgentSource: Sendable {
    enum Kind: Sendable, Equatable {
        /// Its beginning, up to the end of the control file.
        case package(head: [UInt8])
        /// For which machine, as `uname -m` calls it, and its version where it starts here.
        case program(machine: String, version: String?)
    }

    var kind: Kind
    /// Without its directory.
    var name: String
    var bytes: [UInt8]
    var sha256: String

    /// - Throws: `not-found`, `malformed` for what is no package, or no program.
    static func package(_ path: String) throws(FleetError) -> AgentSource {
        let bytes = try FileSystem.read(path, limit: limit)
        guard let head = debianHead(bytes) else {
            throw FleetError(
                .malformed, "\(path) is no Debian package",
                hint: "'ops/package' makes them; a program is given with --program")
        }
        return AgentSource(.package(head: head), path, bytes)
    }

    /// The package of the agent that lies in a directory, where it is one alone.
    ///
    /// - Throws: `usage` where there is none, or several.
    static func onlyPackage(in directory: String) throws(FleetError) -> String {
        let found = try FileSystem.list(directory).filter { $0.hasPrefix("fleet-agent_") && $0.hasSuffix(".deb") }
        guard let name = found.first, found.count == 1 else {
            throw FleetError(
                .usage,
                found.isEmpty
                    ? "neither --package nor --program was given, and there is no fleet-agent_*.deb in this directory"
                    : "neither --package nor --program was given, and several packages are in this directory: "
                        + found.sorted().joined(separator: ", "),
                hint: "give one: the Debian package of fleet-agent, or with --program the program alone")
        }
        return name
    }

    /// - Throws: as `package`.
    static func program(_ path: String) throws(FleetError) -> AgentSource {
        let bytes = try FileSystem.read(path, limit: limit)
        guard let machine = elfMachine(bytes) else {
            throw FleetError(
                .malformed, "\(path) is no program for Linux",
                hint: "give the program fleet-agent itself; a package is given with --package")
        }
        // It may be for another machine than this one, and then it does not start here.
        let here = path.contains("/") ? path : "./" + path
        let asked = try? Subprocess.run(here, ["--version"], deadline: .seconds(10))
        // Behind the first line it may say which build it is.
        let line = asked?.outputText.split(whereSeparator: \.isNewline).first
        let words = line?.split(whereSeparator: \.isWhitespace) ?? []
        if asked?.succeeded == true, words.first != "fleet-agent" {
            throw FleetError(
                .malformed, "\(path) is not fleet-agent", hint: "give the program fleet-agent, for the node's machine")
        }
        let version = words.count == 2 ? String(words[1]) : nil
        return AgentSource(.program(machine: machine, version: version), path, bytes)
    }

    private static let limit = 1 << 30

    init(_ kind: Kind, _ path: String, _ bytes: [UInt8]) {
        self.kind = kind
        name = FileSystem.name(of: path)
        self.bytes = bytes
        sha256 = SHA256.hash(bytes).hex
    }

    /// deb(5): an ar archive of debian-binary, then control.tar, then data.tar. nil: this is none.
    static func debianHead(_ bytes: [UInt8]) -> [UInt8]? {
        guard bytes.starts(with: Array("!<arch>\n".utf8)) else { return nil }
        var offset = 8
        for member in ["debian-binary", "control.tar"] {
            guard offset + 60 <= bytes.count else { return nil }
            func field(_ start: Int, _ length: Int) -> String {
                String(decoding: bytes[(offset + start)..<(offset + start + length)], as: UTF8.self)
            }
            let size = Int(field(48, 10).prefix { $0 != " " })
            // A control file as long as this would be no control file.
            guard field(0, 16).hasPrefix(member), let size, (0...(1 << 18)).contains(size) else { return nil }
            offset += 60 + size + size % 2
        }
        return offset <= bytes.count ? Array(bytes[..<offset]) : nil
    }

    /// elf(5): the magic, class and order, and e_machine at 18. nil: no program of a machine that agents are made for.
    static func elfMachine(_ bytes: [UInt8]) -> String? {
        guard bytes.count > 64, bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]) else { return nil }
        return switch Int(bytes[18]) | Int(bytes[19]) << 8 {
        case 62: "x86_64"
        case 183: "aarch64"
        default: nil
        }
    }
}

/// The unit that starts an agent where no package brings one: ops/systemd/fleet-agent.service itself, by a link.
enum AgentUnit {
    static let bytes = PackageResources.fleet_agent_service
    static let sha256 = SHA256.hash(bytes).hex
}

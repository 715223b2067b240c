public import FleetSystem

/// Another program for the agent itself: fetched, tried, and left again where it does not come back to the coordinator.
extension Operation {
    public struct Upgrade: Codable, Sendable, Equatable {
        public var program: ProgramRecord
        public init(program: ProgramRecord) { self.program = program }

        /// Whether a node may act on it: its fields become file names and sizes.
        public var isValid: Bool { program.isValid }
    }
}

/// A program of the agent, as the bytes of its file tell (`ProgramScan`).
public struct ProgramRecord: Codable, Sendable, Equatable {
    /// Of all of the file, lower-case hexadecimal.
    public var sha256: String
    public var size: Int64
    public var version: String
    /// "x86_64", "aarch64"; others by their number in ELF, "machine-243".
    public var architecture: String

    public static let sizeRange: ClosedRange<Int64> = 1...256 << 20

    public init(sha256: String, size: Int64, version: String, architecture: String) {
        self.sha256 = sha256
        self.size = size
        self.version = version
        self.architecture = architecture
    }

    public var isValid: Bool {
        Self.isDigest(sha256) && Self.sizeRange.contains(size) && ProgramVersion.isValid(version)
            && (1...32).contains(architecture.utf8.count)
    }

    public static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    /// For people: "0.2.0 (3f9a1c2b)".
    public var name: String { "\(version) (\(sha256.prefix(8)))" }
}

/// Versions of the three programs: numbers with dots between.
public enum ProgramVersion {
    public static func isValid(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                let character = Character(Unicode.Scalar(byte))
                return byte < 0x80 && (character.isLetter || character.isNumber || ".+~-".contains(character))
            } && text.utf8.first.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } == true
    }

    /// Of what can't be compared none is newer.
    public static func isNewer(_ one: String, than other: String) -> Bool {
        let (a, b) = (numbers(one), numbers(other))
        for index in 0..<max(a.count, b.count) {
            let (x, y) = (index < a.count ? a[index] : 0, index < b.count ? b[index] : 0)
            if x != y { return x > y }
        }
        return false
    }

    private static func numbers(_ version: String) -> [Int] {
        version.split(separator: ".", omittingEmptySubsequences: false)
            .map { part in Int(part.prefix { $0.isASCII && $0.isNumber }) ?? 0 }
    }
}

/// What an agent says of the program that it runs.
public struct RunningProgram: Codable, Sendable, Equatable {
    public var sha256: String
    public var architecture: String
    /// It was chosen by an upgrade and is not the installed one.
    public var isChosen: Bool
    /// What it was built of, `FleetVersion.commit`; nil where it does not know.
    public var commit: String?
    /// The last upgrade, where this node went back behind it.
    public var fallback: ProgramFallback?

    public init(
        sha256: String, architecture: String, isChosen: Bool, commit: String? = nil, fallback: ProgramFallback? = nil
    ) {
        self.sha256 = sha256
        self.architecture = architecture
        self.isChosen = isChosen
        self.commit = commit
        self.fallback = fallback
    }
}

/// Why a node does not run the program that it was to run.
public struct ProgramFallback: Codable, Sendable, Equatable {
    /// nil where not even that is known.
    public var version: String?
    public var sha256: String?
    public var error: FleetError
    public var time: Timestamp

    public init(version: String?, sha256: String?, error: FleetError, time: Timestamp) {
        self.version = version
        self.sha256 = sha256
        self.error = error
        self.time = time
    }
}

/// Asks for the bytes of the program that an open upgrade of that very node names.
public struct ProgramFetchRequest: Codable, Sendable {
    public var job: String
    public var sha256: String
    public var offset: Int64

    public init(job: String, sha256: String, offset: Int64) {
        self.job = job
        self.sha256 = sha256
        self.offset = offset
    }
}

extension ControlMethod {
    /// Answered with `UploadOffset`: where that is the size, the coordinator has it already.
    public static let uploadProgram = "program.upload"
    public static let upgradeAgent = "agent.upgrade"
}

public struct UpgradeRequest: Codable, Sendable {
    public var cluster: String
    public var node: String
    /// Of a program that was uploaded.
    public var sha256: String

    public init(cluster: String, node: String, sha256: String) {
        self.cluster = cluster
        self.node = node
        self.sha256 = sha256
    }
}

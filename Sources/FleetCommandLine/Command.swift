public import FleetSystem

/// A command as a declaration: the parser, `--help` and whatever else describes the command read this and nothing else.
public struct Command: Sendable {
    public struct Option: Sendable {
        /// Without dashes: "output".
        public var name: String
        /// One letter, without the dash.
        public var short: Character?
        /// What the value is called in the help, "FORMAT"; nil for a switch. Shells complete a "FILE", a "PATH" and a "DIR".
        public var value: String?
        public var summary: String
        /// The values that are allowed; empty: any.
        public var choices: [String]
        public var isRepeated: Bool

        public init(
            _ name: String, short: Character? = nil, value: String? = nil, _ summary: String, choices: [String] = [],
            repeated: Bool = false
        ) {
            self.name = name
            self.short = short
            self.value = value
            self.summary = summary
            self.choices = choices
            isRepeated = repeated
        }
    }

    public struct Argument: Sendable {
        public enum Count: Sendable { case one, optional, any, atLeastOne }
        /// "CLUSTER". Shells complete a "FILE", a "PATH" and a "DIR".
        public var name: String
        public var summary: String
        public var count: Count
        /// The values that are allowed; empty: any.
        public var choices: [String]

        public init(_ name: String, _ summary: String, count: Count = .one, choices: [String] = []) {
            self.name = name
            self.summary = summary
            self.count = count
            self.choices = choices
        }
    }

    public struct Example: Sendable {
        public var command: String
        public var explanation: String
        public init(_ command: String, _ explanation: String) {
            self.command = command
            self.explanation = explanation
        }
    }

    public typealias Run = @Sendable (Invocation) async throws -> ExitStatus

    public var name: String
    public var summary: String
    /// Paragraphs for the help, below the summary.
    public var discussion: String
    public var arguments: [Argument]
    public var options: [Option]
    public var examples: [Example]
    /// Beside 0, 1 and 2, which mean the same everywhere.
    public var exitStatuses: [(ExitStatus, String)]
    public var subcommands: [Command]
    /// It runs until it is told to stop, and what ends it is a line of its log.
    public var isService = false
    public var run: Run?

    /// A command that does something. With `subcommands` their names come first: an argument that is called like one of them
    /// stands behind "--".
    public init(
        _ name: String, _ summary: String, discussion: String = "", arguments: [Argument] = [], options: [Option] = [],
        examples: [Example] = [], exitStatuses: [(ExitStatus, String)] = [], subcommands: [Command] = [],
        isService: Bool = false, run: @escaping Run
    ) {
        self.name = name
        self.summary = summary
        self.discussion = discussion
        self.arguments = arguments
        self.options = options
        self.examples = examples
        self.exitStatuses = exitStatuses
        self.subcommands = subcommands
        self.isService = isService
        self.run = run
    }

    /// A command that groups others. Its options are allowed below it, anywhere on the line.
    public init(
        _ name: String, _ summary: String, discussion: String = "", options: [Option] = [], examples: [Example] = [],
        subcommands: [Command]
    ) {
        self.name = name
        self.summary = summary
        self.discussion = discussion
        arguments = []
        self.options = options
        self.examples = examples
        exitStatuses = []
        self.subcommands = subcommands
        run = nil
    }
}

/// How a program ends. 0, 1 and 2 mean the same for every command.
public struct ExitStatus: Sendable, Equatable {
    public var code: Int32
    public init(_ code: Int32) { self.code = code }

    public static let success = ExitStatus(0)
    public static let failure = ExitStatus(1)
    public static let usage = ExitStatus(2)
    /// Of several things that were asked for, some were done and some failed.
    public static let partialFailure = ExitStatus(3)
    /// The restore failed, and the old configuration and data are in force again.
    public static let rolledBack = ExitStatus(4)
    /// The restore stands half-way and needs a person.
    public static let stuck = ExitStatus(5)
    /// The answer to a confirmation was not yes.
    public static let declined = ExitStatus(6)
    /// What was checked could be read, and something in it is wrong.
    public static let findings = ExitStatus(7)
    /// The file that was to be checked is no etcd snapshot.
    public static let notASnapshot = ExitStatus(8)
}

/// What was asked for on the command line, checked against the declaration.
public struct Invocation: Sendable {
    public var terminal: Terminal
    var values: [String: [String]] = [:]
    var switches: Set<String> = []
    var positional: [String: [String]] = [:]

    /// The last value given for an option, nil when it was not given.
    public func value(_ option: String) -> String? { values[option]?.last }
    public func values(_ option: String) -> [String] { values[option] ?? [] }
    public func has(_ option: String) -> Bool { switches.contains(option) }
    func isGiven(_ option: String) -> Bool { has(option) || values[option] != nil }
    /// The values of an argument: one for a required one.
    public func arguments(_ name: String) -> [String] { positional[name] ?? [] }
    public func argument(_ name: String) -> String? { positional[name]?.first }

    /// A whole number above zero.
    public func number(_ option: String, default fallback: Int) throws(FleetError) -> Int {
        guard let text = value(option) else { return fallback }
        guard let number = Int(text), number > 0 else {
            throw FleetError(.usage, "--\(option) takes a whole number above 0, not \(text.debugDescription)")
        }
        return number
    }

    /// "90s", "15m", "24h", "7d"; a plain number is seconds.
    public func duration(_ option: String, default fallback: Duration) throws(FleetError) -> Duration {
        guard let text = value(option) else { return fallback }
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let unit = text.last.flatMap { units[$0] }
        guard let number = Int(unit == nil ? text[...] : text.dropLast()), number > 0, number < 1_000_000 else {
            throw FleetError(
                .usage, "--\(option) takes a duration such as 90s, 15m, 24h or 7d, not \(text.debugDescription)")
        }
        return .seconds(number * (unit ?? 1))
    }
}

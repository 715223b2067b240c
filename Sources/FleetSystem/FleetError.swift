/// The one error of the fleet: what it is (a code that programs compare), what happened in words, what to do next,
/// and whether trying again can help. It travels over the wire as it stands, so what the operator reads on a terminal
/// is what the agent on the node saw.
///
/// Rules: the message is lower case without a full stop and names the thing it is about; the hint says the next
/// action; neither ever holds a secret. Tests compare codes, never words.
public struct FleetError: Error, Sendable, Equatable, Codable, CustomStringConvertible {
    public struct Code: RawRepresentable, Hashable, Sendable, Codable, ExpressibleByStringLiteral,
        CustomStringConvertible
    {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public init(stringLiteral value: String) { rawValue = value }
        public var description: String { rawValue }
    }

    public var code: Code
    public var message: String
    public var hint: String?
    /// True where the same act may succeed later with nothing changed by hand: a lost connection, a busy peer.
    public var isRetryable: Bool

    public init(_ code: Code, _ message: String, hint: String? = nil, retryable: Bool = false) {
        self.code = code
        self.message = message
        self.hint = hint
        self.isRetryable = retryable
    }

    /// The same error, told from one level up: "save cluster-a: no space left on device".
    public func during(_ act: String) -> FleetError {
        FleetError(code, "\(act): \(message)", hint: hint, retryable: isRetryable)
    }

    /// The same with a message and a hint of at most so many bytes each: what others say may be of any length.
    public func shortened(to bytes: Int) -> FleetError {
        func cut(_ text: String) -> String {
            text.utf8.count <= bytes ? text : String(decoding: text.utf8.prefix(bytes), as: UTF8.self) + "..."
        }
        return FleetError(
            Code(rawValue: cut(code.rawValue)), cut(message), hint: hint.map(cut), retryable: isRetryable)
    }

    public var description: String { hint.map { "\(message) (\(code)); \($0)" } ?? "\(message) (\(code))" }
}

extension FleetError.Code {
    /// A system call failed in a way that has no code of its own.
    public static let system: Self = "system"
    public static let notFound: Self = "not-found"
    public static let alreadyExists: Self = "already-exists"
    public static let permissionDenied: Self = "permission-denied"
    public static let noSpace: Self = "no-space"
    public static let timedOut: Self = "timed-out"
    public static let cancelled: Self = "cancelled"
    /// Something that came from outside does not have the form it must have.
    public static let malformed: Self = "malformed"
    public static let usage: Self = "usage"
    /// More than this program is made for, in bounded memory.
    public static let limit: Self = "limit"
    public static let childFailed: Self = "child-failed"
    /// A state that the program holds to be impossible; a bug, said as one.
    public static let internalError: Self = "internal"
}

extension FleetError {
    /// Any error as a `FleetError`: what already is one stays as it is.
    public init(_ error: any Error) {
        switch error {
        case let error as FleetError: self = error
        case is CancellationError: self.init(.cancelled, "cancelled", retryable: true)
        default: self.init(.internalError, "\(error)")
        }
    }
}

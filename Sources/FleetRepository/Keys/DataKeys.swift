import FleetCrypto
import FleetSystem

/// The keys that files of the repository are sealed with, oldest first: each file says by the number of its generation
/// which one it is. What is written is sealed with the newest.
struct DataKeys: Sendable, Equatable {
    static let maximum = 64
    private let keys: [SymmetricKey]

    private init(_ keys: [SymmetricKey]) { self.keys = keys }

    /// The first one of a new repository.
    static func random() -> DataKeys { DataKeys([.random()]) }

    /// - Throws: `malformed`.
    init(_ bytes: [UInt8]) throws(FleetError) {
        guard bytes.count.isMultiple(of: SymmetricKey.length),
            (1...Self.maximum).contains(bytes.count / SymmetricKey.length)
        else { throw FleetError(.malformed, "\(bytes.count) bytes are no data keys") }
        keys = try stride(from: 0, to: bytes.count, by: SymmetricKey.length).map { start throws(FleetError) in
            try SymmetricKey(Array(bytes[start..<(start + SymmetricKey.length)]))
        }
    }

    /// - Throws: `already-exists` where there are as many as there can be.
    func addingOne() throws(FleetError) -> DataKeys {
        guard keys.count < Self.maximum else {
            throw FleetError(
                .alreadyExists, "the repository has had \(Self.maximum) data keys, and can't have more",
                hint: "begin a new repository, and import into it what is to be kept")
        }
        return DataKeys(keys + [.random()])
    }

    var bytes: [UInt8] { keys.flatMap(\.bytes) }
    var generation: Int { keys.count }
    var newest: SymmetricKey { keys[keys.count - 1] }
    /// Of fingerprints: another key would give every page another one, and everything would be stored again.
    var first: SymmetricKey { keys[0] }

    /// - Throws: `snapshot-damaged`.
    func key(_ generation: Int) throws(FleetError) -> SymmetricKey {
        guard (1...keys.count).contains(generation) else {
            throw damaged("it says that it is sealed with data key \(generation), of which there are \(keys.count)")
        }
        return keys[generation - 1]
    }
}

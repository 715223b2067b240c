import FleetCrypto
import FleetSystem

/// The file `config`: what format this is, and the data key, wrapped once for each key that opens it.
///
/// The data key never changes; changing the master key wraps it anew and replaces this small file. `mac` covers all of
/// it, with a key that only the data key gives, so that no slot can be added or bent unnoticed.
struct RepositoryConfig: Codable, Sendable, Equatable {
    struct Slot: Codable, Sendable, Equatable {
        var role: RepositoryKey.Role
        /// 16 random bytes, hexadecimal.
        var salt: String
        /// Nonce, sealed data key, tag, hexadecimal.
        var wrapped: String
    }
    static let currentFormat = 1

    var format: Int
    /// 16 random bytes, hexadecimal: tells repositories apart.
    var repository: String
    var slots: [Slot]
    var mac: String

    /// A new repository with a new data key.
    static func create(for keys: [RepositoryKey]) throws(FleetError) -> RepositoryConfig {
        var config = RepositoryConfig(
            format: currentFormat, repository: SecureRandom.bytes(16).hex, slots: [], mac: "")
        let dataKey = SymmetricKey.random()
        for key in keys { config.slots.append(config.slot(for: key, dataKey)) }
        config.mac = try config.code(dataKey)
        return config
    }

    /// The data key, and the proof that the file is whole.
    ///
    /// - Throws: `wrong-key`, `snapshot-damaged`, `malformed` for a format of a newer program.
    func dataKey(_ key: RepositoryKey) throws(FleetError) -> SymmetricKey {
        guard format == Self.currentFormat else {
            throw FleetError(
                .malformed, "the repository has format \(format), this program knows \(Self.currentFormat)",
                hint: "upgrade this program")
        }
        for slot in slots where slot.role == key.role {
            guard let salt = [UInt8](hex: slot.salt), let wrapped = [UInt8](hex: slot.wrapped) else { continue }
            let wrapping = key.secret.derive("fleet repository key slot", salt: salt)
            let opened = wrapped.withUnsafeBytes {
                AESGCM.open($0, key: wrapping, authenticating: context(slot.role))
            }
            guard let opened else { continue }
            let dataKey = try SymmetricKey(opened)
            guard try isAuthentic(dataKey) else { throw damaged("the repository's config was changed") }
            return dataKey
        }
        throw FleetError(
            .wrongKey, "this \(key.role.rawValue) key does not open the repository",
            hint: "use the key that belongs to it; the recovery key opens it as well")
    }

    /// The same data key for another key of that role; the former one no longer opens it.
    func replacing(_ role: RepositoryKey.Role, with key: RepositoryKey, _ dataKey: SymmetricKey)
        throws(FleetError) -> RepositoryConfig
    {
        var config = self
        config.slots.removeAll { $0.role == role }
        return try config.adding(key, dataKey)
    }

    /// The same data key for one more key.
    func adding(_ key: RepositoryKey, _ dataKey: SymmetricKey) throws(FleetError) -> RepositoryConfig {
        var config = self
        config.slots.append(slot(for: key, dataKey))
        config.mac = try config.code(dataKey)
        return config
    }

    func encoded() throws(FleetError) -> [UInt8] { try JSON.encode(self, pretty: true) }

    /// - Throws: `malformed`; also for bytes that this program would have written otherwise, so that no flipped bit of
    ///   the file goes unseen.
    static func decode(_ bytes: [UInt8]) throws(FleetError) -> RepositoryConfig {
        let config = try JSON.decode(RepositoryConfig.self, from: bytes)
        guard try config.encoded() == bytes else { throw FleetError(.malformed, "it is not as it was written") }
        return config
    }

    private func slot(for key: RepositoryKey, _ dataKey: SymmetricKey) -> Slot {
        let salt = SecureRandom.bytes(16)
        let wrapping = key.secret.derive("fleet repository key slot", salt: salt)
        let wrapped = dataKey.bytes.withUnsafeBytes {
            AESGCM.seal($0, key: wrapping, authenticating: context(key.role))
        }
        return Slot(role: key.role, salt: salt.hex, wrapped: wrapped.hex)
    }

    private func context(_ role: RepositoryKey.Role) -> [UInt8] { Array("\(repository) \(role.rawValue)".utf8) }

    func isAuthentic(_ dataKey: SymmetricKey) throws(FleetError) -> Bool { mac == (try code(dataKey)) }

    private func code(_ dataKey: SymmetricKey) throws(FleetError) -> String {
        var bare = self
        bare.mac = ""
        return HMACSHA256.code(of: try bare.encoded(), key: dataKey.derive("fleet repository config").bytes).hex
    }
}

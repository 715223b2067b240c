import FleetCrypto
import FleetSystem

/// The file `config`: what format this is, and the data keys, wrapped once for each key that opens it.
///
/// Changing the master key wraps them anew and replaces this small file. `mac` covers all of it, with a key that only
/// the newest data key gives, so that no slot can be added or bent unnoticed.
struct RepositoryConfig: Codable, Sendable, Equatable {
    struct Slot: Codable, Sendable, Equatable {
        var role: RepositoryKey.Role
        /// 16 random bytes, hexadecimal.
        var salt: String
        /// Nonce, sealed data keys (oldest first), tag, hexadecimal.
        var wrapped: String
    }
    /// 1 with one data key, 2 with several, which programs of format 1 don't know.
    static let newestFormat = 2

    var format: Int
    /// 16 random bytes, hexadecimal: tells repositories apart.
    var repository: String
    var slots: [Slot]
    var mac: String

    /// A new repository with a new data key.
    static func create(for keys: [RepositoryKey]) throws(FleetError) -> RepositoryConfig {
        var config = RepositoryConfig(
            format: 1, repository: SecureRandom.bytes(16).hex, slots: [], mac: "")
        let dataKeys = DataKeys.random()
        for key in keys { config.slots.append(config.slot(for: key, dataKeys)) }
        config.mac = try config.code(dataKeys)
        return config
    }

    /// The data keys, and the proof that the file is whole.
    ///
    /// - Throws: `wrong-key`, `snapshot-damaged`, `malformed` for a format of a newer program.
    func dataKeys(_ key: RepositoryKey) throws(FleetError) -> DataKeys {
        guard (1...Self.newestFormat).contains(format) else {
            throw FleetError(
                .malformed, "the repository has format \(format), this program knows \(Self.newestFormat)",
                hint: "upgrade this program")
        }
        for slot in slots where slot.role == key.role {
            guard let salt = [UInt8](hex: slot.salt), let wrapped = [UInt8](hex: slot.wrapped) else { continue }
            let wrapping = key.secret.derive("fleet repository key slot", salt: salt)
            let opened = wrapped.withUnsafeBytes {
                AESGCM.open($0, key: wrapping, authenticating: context(slot.role))
            }
            guard let opened else { continue }
            let keys = try DataKeys(opened)
            guard try isAuthentic(keys) else { throw damaged("the repository's config was changed") }
            return keys
        }
        throw FleetError(
            .wrongKey, "this \(key.role.rawValue) key does not open the repository",
            hint: "use the key that belongs to it; the recovery key opens it as well")
    }

    /// The same data keys for another key of that role; the former one no longer opens it.
    func replacing(_ role: RepositoryKey.Role, with key: RepositoryKey, _ dataKeys: DataKeys)
        throws(FleetError) -> RepositoryConfig
    {
        var config = self
        config.slots.removeAll { $0.role == role }
        return try config.adding(key, dataKeys)
    }

    /// Other data keys, for these keys and no others.
    func replacing(all keys: [RepositoryKey], _ dataKeys: DataKeys) throws(FleetError) -> RepositoryConfig {
        var config = self
        config.format = dataKeys.generation > 1 ? 2 : 1
        config.slots = keys.map { slot(for: $0, dataKeys) }
        config.mac = try config.code(dataKeys)
        return config
    }

    /// The same data keys for one more key.
    func adding(_ key: RepositoryKey, _ dataKeys: DataKeys) throws(FleetError) -> RepositoryConfig {
        var config = self
        config.slots.append(slot(for: key, dataKeys))
        config.mac = try config.code(dataKeys)
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

    private func slot(for key: RepositoryKey, _ dataKeys: DataKeys) -> Slot {
        let salt = SecureRandom.bytes(16)
        let wrapping = key.secret.derive("fleet repository key slot", salt: salt)
        let wrapped = dataKeys.bytes.withUnsafeBytes {
            AESGCM.seal($0, key: wrapping, authenticating: context(key.role))
        }
        return Slot(role: key.role, salt: salt.hex, wrapped: wrapped.hex)
    }

    private func context(_ role: RepositoryKey.Role) -> [UInt8] { Array("\(repository) \(role.rawValue)".utf8) }

    func isAuthentic(_ dataKeys: DataKeys) throws(FleetError) -> Bool { mac == (try code(dataKeys)) }

    private func code(_ dataKeys: DataKeys) throws(FleetError) -> String {
        var bare = self
        bare.mac = ""
        return HMACSHA256.code(of: try bare.encoded(), key: dataKeys.newest.derive("fleet repository config").bytes).hex
    }
}

import FleetCrypto
import FleetSystem

/// How every file of the repository begins: seven bytes that say what it is, the generation of the data key ("1" is the
/// first), then 16 random ones that make the file's key from it.
/// Since each file has a key of its own, and each record in it a random nonce, no pair of both is ever used twice.
struct SealedFile: Sendable {
    enum Kind: String, Sendable {
        case pack = "FLTPACK"
        case snapshot = "FLTSNAP"
        case upload = "FLTUPLD"
        case state = "FLTSTAT"
        case bundle = "FLTBNDL"
    }
    static let headerLength = 24
    /// Nonce and tag of a record.
    static let overhead = AESGCM.nonceLength + AESGCM.tagLength

    private static let generationBase = UInt8(ascii: "0")

    let salt: [UInt8]
    let generation: Int
    /// The first eight bytes.
    private let magic: [UInt8]
    private let key: SymmetricKey

    private init(_ kind: Kind, _ generation: Int, salt: [UInt8], _ dataKey: SymmetricKey) {
        magic = Array(kind.rawValue.utf8) + [Self.generationBase + UInt8(generation)]
        (self.salt, self.generation) = (salt, generation)
        key = dataKey.derive("fleet repository file " + String(decoding: magic, as: UTF8.self), salt: salt)
    }

    /// A new one, sealed with the newest data key.
    init(_ kind: Kind, salt: [UInt8] = SecureRandom.bytes(16), _ keys: DataKeys) {
        self.init(kind, keys.generation, salt: salt, keys.newest)
    }

    /// - Throws: `snapshot-damaged`.
    init(_ kind: Kind, header: some Collection<UInt8>, _ keys: DataKeys) throws(FleetError) {
        guard header.count == Self.headerLength, header.starts(with: kind.rawValue.utf8) else {
            throw damaged("the file does not begin as it should")
        }
        let rest = header.dropFirst(kind.rawValue.utf8.count)
        let generation = Int(rest.first!) - Int(Self.generationBase)
        self.init(kind, generation, salt: Array(rest.dropFirst()), try keys.key(generation))
    }

    var header: [UInt8] { magic + salt }

    /// `name` says which record of the file this is: one can't stand in another's place.
    func seal(_ bytes: UnsafeRawBufferPointer, _ name: String) -> [UInt8] {
        AESGCM.seal(bytes, key: key, authenticating: Array(name.utf8))
    }

    func seal(_ bytes: [UInt8], _ name: String) -> [UInt8] { bytes.withUnsafeBytes { seal($0, name) } }

    func open(_ bytes: some Collection<UInt8>, _ name: String) throws(FleetError) -> [UInt8] {
        let bytes = (bytes as? [UInt8]) ?? Array(bytes)
        let opened = bytes.withUnsafeBytes { AESGCM.open($0, key: key, authenticating: Array(name.utf8)) }
        guard let opened else { throw damaged("\(name) is not what was written") }
        return opened
    }
}

import FleetCrypto
import FleetSystem

/// How every file of the repository begins: eight bytes that say what it is, then 16 random ones that make its key.
/// Since each file has a key of its own, and each record in it a random nonce, no pair of both is ever used twice.
struct SealedFile: Sendable {
    enum Kind: String, Sendable {
        case pack = "FLTPACK1"
        case snapshot = "FLTSNAP1"
        case upload = "FLTUPLD1"
    }
    static let headerLength = 24
    /// Nonce and tag of a record.
    static let overhead = AESGCM.nonceLength + AESGCM.tagLength

    let kind: Kind
    let salt: [UInt8]
    private let key: SymmetricKey

    init(_ kind: Kind, salt: [UInt8] = SecureRandom.bytes(16), dataKey: SymmetricKey) {
        self.kind = kind
        self.salt = salt
        key = dataKey.derive("fleet repository file " + kind.rawValue, salt: salt)
    }

    init(_ kind: Kind, header: some Collection<UInt8>, dataKey: SymmetricKey) throws(FleetError) {
        guard header.count == Self.headerLength, header.starts(with: kind.rawValue.utf8) else {
            throw damaged("the file does not begin as it should")
        }
        self.init(kind, salt: Array(header.dropFirst(8)), dataKey: dataKey)
    }

    var header: [UInt8] { Array(kind.rawValue.utf8) + salt }

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

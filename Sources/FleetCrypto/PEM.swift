internal import COpenSSL
internal import FleetSystem

/// A memory BIO: the way in and out of OpenSSL's PEM functions.
struct MemoryBIO: ~Copyable {
    let bio: OpaquePointer

    init() throws(FleetError) { bio = try made(BIO_new(BIO_s_mem()), "allocate") }

    /// A BIO to read `text` from.
    init(_ text: String) throws(FleetError) {
        try self.init()
        let bytes = Array(text.utf8)
        // A memory BIO that was made takes all there is, or there is no memory left.
        precondition(BIO_write(bio, bytes, Int32(bytes.count)) == Int32(bytes.count))
    }

    deinit { BIO_free(bio) }

    var text: String {
        var pointer: UnsafeMutablePointer<CChar>?
        let count = fleet_bio_mem_data(bio, &pointer)
        return String(decoding: UnsafeRawBufferPointer(start: pointer, count: count), as: UTF8.self)
    }
}

internal import CZstd
import FleetSystem

/// zstd with a reference prefix: the compressor may refer to bytes of the prefix, which the decompressor must be given
/// again. Contexts are kept and used again, since making one costs as much as a small block.
final class Zstd: Sendable {
    private struct Contexts {
        // zstd's contexts belong to whoever has taken them out.
        var compressors: [OpaquePointer] = []
        var decompressors: [OpaquePointer] = []
    }
    private let contexts = Monitor(Contexts())

    deinit {
        contexts.withLock { contexts in
            for one in contexts.compressors { ZSTD_freeCCtx(one) }
            for one in contexts.decompressors { ZSTD_freeDCtx(one) }
        }
    }

    func compress(
        _ bytes: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer? = nil, level: Int
    ) throws(FleetError) -> [UInt8] {
        let context = contexts.withLock { UInt(bitPattern: $0.compressors.popLast()) }
        guard let compressor = OpaquePointer(bitPattern: context) ?? ZSTD_createCCtx() else {
            throw FleetError(.system, "zstd has no memory")
        }
        defer {
            let taken = UInt(bitPattern: compressor)
            contexts.withLock { $0.compressors.append(OpaquePointer(bitPattern: taken)!) }
        }
        ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters)
        ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, Int32(level))
        if let prefix, prefix.count > 0 {
            // The window must reach from the last byte back to the prefix's first one.
            ZSTD_CCtx_setParameter(compressor, ZSTD_c_windowLog, Self.windowLog(bytes.count + prefix.count))
            ZSTD_CCtx_refPrefix(compressor, prefix.baseAddress, prefix.count)
        }
        var written = 0
        let capacity = ZSTD_compressBound(bytes.count)
        let output = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            written = ZSTD_compress2(compressor, buffer.baseAddress, capacity, bytes.baseAddress, bytes.count)
            count = ZSTD_isError(written) == 0 ? written : 0
        }
        guard ZSTD_isError(written) == 0 else {
            throw FleetError(.internalError, "zstd: \(String(cString: ZSTD_getErrorName(written)))")
        }
        return output
    }

    /// - Returns: exactly `count` bytes.
    /// - Throws: `snapshot-damaged`.
    func decompress(
        _ bytes: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer? = nil, count: Int
    ) throws(FleetError) -> [UInt8] {
        let context = contexts.withLock { UInt(bitPattern: $0.decompressors.popLast()) }
        guard let decompressor = OpaquePointer(bitPattern: context) ?? ZSTD_createDCtx() else {
            throw FleetError(.system, "zstd has no memory")
        }
        defer {
            let taken = UInt(bitPattern: decompressor)
            contexts.withLock { $0.decompressors.append(OpaquePointer(bitPattern: taken)!) }
        }
        ZSTD_DCtx_reset(decompressor, ZSTD_reset_session_and_parameters)
        if let prefix, prefix.count > 0 { ZSTD_DCtx_refPrefix(decompressor, prefix.baseAddress, prefix.count) }
        var written = 0
        let output = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            written = ZSTD_decompressDCtx(decompressor, buffer.baseAddress, count, bytes.baseAddress, bytes.count)
            filled = ZSTD_isError(written) == 0 ? written : 0
        }
        guard output.count == count else {
            let why = ZSTD_isError(written) == 0 ? "\(written) bytes" : String(cString: ZSTD_getErrorName(written))
            throw damaged("a compressed block does not give back its \(count) bytes: \(why)")
        }
        return output
    }

    /// The length, then the compressed bytes.
    func pack(_ plain: [UInt8], level: Int) throws(FleetError) -> [UInt8] {
        var out = ByteWriter()
        out.varint(plain.count)
        out.raw(
            try plain.span.withUnsafeBytes { (bytes) throws(FleetError) in try compress(bytes, level: level) })
        return out.bytes
    }

    func unpack(_ packed: [UInt8], limit: Int) throws(FleetError) -> [UInt8] {
        var input = ByteReader(packed)
        let count = try input.count(limit: limit)
        let rest = try input.raw(packed.count - input.position)
        return try rest.span.withUnsafeBytes { (bytes) throws(FleetError) in
            try decompress(bytes, count: count)
        }
    }

    private static func windowLog(_ size: Int) -> Int32 {
        var log: Int32 = 17
        while 1 << Int(log) < size, log < 27 { log += 1 }
        return log
    }
}

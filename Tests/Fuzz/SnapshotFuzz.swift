import FleetSystem

@testable import EtcdSnapshot

/// libFuzzer's entry: any bytes as a snapshot. Nothing may crash, hang or grow; what the content should say is the unit
/// tests' business. Built and run by ops/fuzz, not by the package.
///
/// The checksums of the meta pages are put right first, or hardly any input would get beyond them; with an odd last byte
/// they stay as they are.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    if let last = bytes.last, last & 1 == 0 { repair(&bytes) }
    do {
        var reader = try SnapshotReader(MemoryPages(bytes))
        // Few slots: several passes are part of what is tried.
        reader.slotLimit = 16
        let report = try reader.report()
        precondition(report.findings.count <= Findings.limit && report.totalFindings >= report.findings.count)
        let keys = try reader.liveKeys()
        if let key = keys.first {
            _ = try reader.value(of: key)
            _ = try reader.liveKey(key.key)
        }
        let diff = try SnapshotDiff(from: reader, to: reader)
        precondition(diff.total == SnapshotDiff.Counts(), "a snapshot differs from itself")
        _ = try JSON.encode(report)
    } catch {
        // What can't be read is said, and that is right for most inputs.
        precondition(FleetError(error).code != .internalError)
    }
    return 0
}

/// Magic number, version and checksum of both meta pages; the page size is the input's own, or the smallest.
private func repair(_ bytes: inout [UInt8]) {
    guard bytes.count >= 2048 else { return }
    func pageSize(_ at: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[at + 24 + $1]) << ($1 * 8) } }
    if !(0...6).contains(where: { 1024 << $0 == pageSize(0) }) { bytes.replaceSubrange(24..<28, with: [0, 4, 0, 0]) }
    for at in [0, pageSize(0)] where at + 80 <= bytes.count {
        bytes.replaceSubrange((at + 16)..<(at + 24), with: [0xED, 0xDA, 0x0C, 0xED, 2, 0, 0, 0])
        bytes.replaceSubrange((at + 24)..<(at + 28), with: bytes[24..<28])
        BoltWriter.seal(&bytes, at: at)
    }
}

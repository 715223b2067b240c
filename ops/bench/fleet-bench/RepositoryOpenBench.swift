import FleetCommandLine
import FleetCrypto
import FleetRepository
import FleetSystem
import Glibc

/// How opening grows with the number of snapshots: a synthetic repository whose lineages have a year of snapshots each.
/// Their pages are few, since opening reads none; the number of files and what stands in each is real.
let repositoryOpenCommand = Command(
    "open", "Make a repository of 10,000 snapshots and measure what opening and listing it takes",
    arguments: [.init("DIRECTORY", "where to make it")]
) { call in
    let root = call.argument("DIRECTORY")!
    let key = RepositoryKey.random(.master)
    _ = try Repository.create(root, master: key)
    var made = 0
    call.terminal.print("snapshots     open s     list s   resident MB   index MB")
    for target in [100, 1000, 10_000] {
        try fill(root, key, from: made, to: target)
        made = target
        let start = ContinuousClock.now
        let repository = try Repository(root, key: key)
        _ = try repository.ids()
        let opened = ContinuousClock.now
        let listing = try repository.list()
        let listed = ContinuousClock.now
        guard listing.heads.count == target else { throw FleetError(.internalError, "not all snapshots are listed") }
        let index = try FileSystem.treeSize("\(root)/snapshots")
        call.terminal.print(
            "\(padded(target, 9))\(padded((opened - start).seconds, 11))\(padded((listed - opened).seconds, 11))"
                + "\(padded(try residentMegabytes(), 14))\(padded(Int(index) / 1_000_000, 11))")
    }
    return .success
}

/// Fifty lineages, each snapshot changing some of the 64 pages of the one before.
private func fill(_ root: String, _ key: RepositoryKey, from first: Int, to last: Int) throws(FleetError) {
    let repository = try Repository(root, key: key)
    let payload = [UInt8](repeating: 0x20, count: 900)
    for number in first..<last {
        let lineage = number % 50
        var bytes = [UInt8](repeating: UInt8(lineage), count: 64 * 4096)
        for page in 0..<8 { bytes[((number / 50 + page * 7) % 64) * 4096 + 9] = UInt8(truncatingIfNeeded: number >> 3) }
        let id = "20260101-\(number)"
        let upload = try repository.begin(id, lineage: "cluster-\(lineage)")
        let whole = bytes.span
        try whole.withUnsafeBytes { (bytes) throws(FleetError) in try upload.append(bytes) }
        try repository.commit(upload, as: id, payload: payload)
    }
}

private func residentMegabytes() throws(FleetError) -> Int {
    let pages = try FileSystem.readText("/proc/self/statm").split(separator: " ").dropFirst().first.flatMap { Int($0) }
    return (pages ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) / 1_000_000
}

private func padded(_ value: Int, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - "\(value)".count)) + "\(value)"
}

private func padded(_ seconds: Double, _ width: Int) -> String {
    let text = "\(Double(Int(seconds * 1000)) / 1000)"
    return String(repeating: " ", count: max(1, width - text.count)) + text
}

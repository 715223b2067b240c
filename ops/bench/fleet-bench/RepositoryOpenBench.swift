import FleetCommandLine
import FleetCrypto
import FleetRepository
import FleetSystem
import Glibc

/// How a repository's work grows with the number of snapshots. They are small, 10 MB each, and resemble each other as a
/// cluster's do: what stands in each file, and the number of files, is real.
let repositoryOpenCommand = Command(
    "open", "Make a repository of many snapshots and measure what opening, listing and upkeep take",
    arguments: [.init("DIRECTORY", "where to make it")],
    options: [.init("snapshots", value: "COUNT", "how many at last (default 10000: 100 GB)")]
) { call in
    let root = call.argument("DIRECTORY")!
    let last = call.value("snapshots").flatMap { Int($0) } ?? 10_000
    let key = RepositoryKey.random(.master)
    _ = try Repository.create(root, master: key)
    var made = 0
    call.terminal.print("seconds  of snapshots: open   list  stats  check  gc -n   resident MB  index MB  stored MB")
    for target in [last / 100, last / 10, last] where target > made {
        try fill(root, key, from: made, to: target)
        made = target
        var times: [Double] = []
        func measure<Value>(_ work: () throws(FleetError) -> Value) throws(FleetError) -> Value {
            let start = ContinuousClock.now
            let value = try work()
            times.append((ContinuousClock.now - start).seconds)
            return value
        }
        let repository = try measure { () throws(FleetError) in
            let repository = try Repository(root, key: key)
            _ = try repository.ids()
            return repository
        }
        let listing = try measure { () throws(FleetError) in try repository.list() }
        guard listing.heads.count == target else { throw FleetError(.internalError, "not all snapshots are listed") }
        let statistics = try measure { () throws(FleetError) in try repository.statistics() }
        let report = try measure { () throws(FleetError) in try repository.check(readData: false) }
        guard report.isSound else { throw FleetError(.internalError, "the repository is not sound") }
        _ = try measure { () throws(FleetError) in try repository.collect(dryRun: true) }
        call.terminal.print(
            padded(target, 21) + times.map { padded($0, 7) }.joined()
                + padded(try peakMegabytes(), 14) + padded(Int(statistics.mapBytes) / 1_000_000, 10)
                + padded(Int(statistics.packBytes) / 1_000_000, 11))
    }
    let repository = try Repository(root, key: key)
    let old = try repository.ids().filter { $0.hash(modulo: 10) == 0 }
    var start = ContinuousClock.now
    for id in old { try repository.delete(id) }
    call.terminal.print("\(old.count) deleted in\(padded((ContinuousClock.now - start).seconds, 8)) s")
    start = .now
    let collected = try repository.collect(dryRun: false)
    call.terminal.print(
        "collected in\(padded((ContinuousClock.now - start).seconds, 8)) s: \(collected.files.count) files, "
            + "\(collected.blocks) blocks, \((collected.fileBytes + collected.blockBytes) / 1_000_000) MB")
    guard try repository.check(readData: false).isSound else {
        throw FleetError(.internalError, "the repository is not sound")
    }
    return .success
}

/// Fifty clusters; each snapshot changes a hundredth of the pages of the one before.
private func fill(_ root: String, _ key: RepositoryKey, from first: Int, to last: Int) throws(FleetError) {
    let repository = try Repository(root, key: key)
    let payload = [UInt8](repeating: 0x20, count: 900)
    let pages = 2560
    for number in first..<last {
        let (lineage, turn) = (number % 50, number / 50)
        var bytes = [UInt8](repeating: UInt8(lineage), count: pages * 4096)
        for page in 0..<pages {
            // Page by page, the turn that changed it last.
            let changed = turn - (turn &* 7 &+ page) % 100
            for i in 0..<40 {
                bytes[page * 4096 + i * 100] = UInt8(truncatingIfNeeded: (page &* 31 &+ i) ^ (changed &* 7))
            }
        }
        let id = "20260101-\(number)"
        let upload = try repository.begin(id, lineage: "cluster-\(lineage)")
        let whole = bytes.span
        try whole.withUnsafeBytes { (bytes) throws(FleetError) in try upload.append(bytes) }
        try repository.commit(upload, as: id, payload: payload)
    }
}

extension String {
    fileprivate func hash(modulo divisor: Int) -> Int {
        utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xffff_ffff } % divisor
    }
}

private func peakMegabytes() throws(FleetError) -> Int {
    for line in try FileSystem.readText("/proc/self/status").split(separator: "\n") where line.hasPrefix("VmHWM:") {
        let words = line.split { $0 == " " || $0 == "\t" }
        if words.count > 1, let kilobytes = Int(words[1]) { return kilobytes * 1024 / 1_000_000 }
    }
    throw FleetError(.malformed, "/proc/self/status has no VmHWM")
}

private func padded(_ value: Int, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - "\(value)".count)) + "\(value)"
}

private func padded(_ seconds: Double, _ width: Int) -> String {
    let text = "\(Double(Int(seconds * 100)) / 100)"
    return String(repeating: " ", count: max(1, width - text.count)) + text
}

import EtcdSnapshot
import FleetCommandLine
import FleetCrypto
import FleetRepository
import FleetSystem

/// What the coordinator does with a snapshot before it commits it: all of it is read back and hashed, in order; then every
/// page, key and value in the order of the tree, decoded when it is asked for.
let repositoryLookCommand = Command(
    "look", "Read a stored snapshot back, then every page, key and value; the times are of one, and of both",
    arguments: [
        .init("DIRECTORY", "the repository"), .init("KEYFILE", "its key"), .init("ID", "the snapshot's name"),
    ]
) { call in
    let watch = Stopwatch()
    let stored = try openedRepository(call).open(call.argument("ID")!).pages
    var hasher = SHA256()
    try stored.readAll { bytes throws(FleetError) in hasher.update(bytes) }
    call.terminal.note("read back: \(hasher.finalize().hex)")
    watch.report(call)
    let pages = Pages(stored)
    let report = try SnapshotReader(pages).report(computed: [])
    call.terminal.note("\(report.totalKey) keys, \(report.liveKeys ?? -1) live, \(report.totalFindings) findings")
    watch.report(call)
    return .success
}

private struct Pages: PageSource {
    let pages: RepositoryPages
    init(_ pages: RepositoryPages) { self.pages = pages }
    var length: Int { Int(pages.length) }
    var readLimit: Int { 32 << 20 }
    func read(
        at offset: Int, count: Int, _ body: (UnsafeRawBufferPointer) throws(FleetError) -> Void
    ) throws(FleetError) { try pages.read(at: offset, count: count, body) }
}

import EtcdSnapshot
import FleetCommandLine
import FleetRepository
import FleetSystem

/// The coordinator's look into a stored snapshot: every page, key and value, in the order of the tree, decoded when it is
/// asked for. Its digest is not computed, as at ingest, where the bytes are hashed while they arrive.
let repositoryLookCommand = Command(
    "look", "Read every page, key and value of a stored snapshot",
    arguments: [
        .init("DIRECTORY", "the repository"), .init("KEYFILE", "its key"), .init("ID", "the snapshot's name"),
    ]
) { call in
    let watch = Stopwatch()
    let pages = Pages(try openedRepository(call).open(call.argument("ID")!).pages)
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

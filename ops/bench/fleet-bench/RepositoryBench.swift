import FleetCommandLine
import FleetCrypto
import FleetRepository
import FleetSystem
import Glibc

/// One import or export of a snapshot, as `ops/bench/table` compares it with other tools: a process each, so that
/// the peak of memory is this work's own.
let repositoryCommand = Command(
    "repository", "Import snapshots into a repository, or export one, and say what it took",
    subcommands: [
        repositoryOpenCommand, repositoryLookCommand,
        Command(
            "init", "Make a repository",
            arguments: [.init("DIRECTORY", "where"), .init("KEYFILE", "its new master key")]
        ) { call in
            let key = RepositoryKey.random(.master)
            _ = try Repository.create(call.argument("DIRECTORY")!, master: key)
            try FileSystem.writeDurably(call.argument("KEYFILE")!, key.text.utf8)
            return .success
        },
        Command(
            "import", "Store a file, computing its SHA-256 as the coordinator does",
            arguments: [
                .init("DIRECTORY", "the repository"), .init("KEYFILE", "its key"), .init("FILE", "the snapshot"),
                .init("ID", "its name"),
            ]
        ) { call in
            let watch = Stopwatch()
            let repository = try openedRepository(call)
            let file = try Descriptor.open(call.argument("FILE")!, O_RDONLY)
            let upload = try repository.begin(call.argument("ID")!, lineage: "bench")
            var hasher = SHA256()
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                let count = try file.read(into: &buffer)
                if count == 0 { break }
                hasher.update(buffer[..<count])
                let whole = buffer.span
                try whole.withUnsafeBytes { (bytes) throws(FleetError) in
                    try upload.append(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
                }
            }
            let digest = hasher.finalize().hex
            try repository.commit(upload, as: call.argument("ID")!, payload: Array(digest.utf8))
            watch.report(call)
            return .success
        },
        Command(
            "export", "Write a snapshot to a file, checking its SHA-256",
            arguments: [
                .init("DIRECTORY", "the repository"), .init("KEYFILE", "its key"), .init("FILE", "where to write it"),
                .init("ID", "its name"),
            ]
        ) { call in
            let watch = Stopwatch()
            let snapshot = try openedRepository(call).open(call.argument("ID")!)
            let file = try TargetFile(for: call.argument("FILE")!)
            let digest = try snapshot.write(to: file)
            guard digest.hex == String(decoding: snapshot.head.payload, as: UTF8.self) else {
                throw FleetError(.snapshotDamaged, "what came back is not what was stored")
            }
            try file.publish()
            watch.report(call)
            return .success
        },
    ])

func openedRepository(_ call: Invocation) throws(FleetError) -> Repository {
    let key = try RepositoryKey(text: try FileSystem.readText(call.argument("KEYFILE")!))
    return try Repository(call.argument("DIRECTORY")!, key: key)
}

/// Wall time, and what getrusage(2) knows of the process.
struct Stopwatch {
    private let start = ContinuousClock.now

    /// "wall cpu peak": seconds, seconds, bytes.
    func report(_ call: Invocation) {
        let wall = (ContinuousClock.now - start).seconds
        var usage = rusage()
        getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        let processor =
            Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        call.terminal.print("\(wall) \(processor) \(usage.ru_maxrss * 1024)")
    }
}

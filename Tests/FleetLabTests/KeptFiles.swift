import FleetSystem
import Testing

/// The files that hold the data of an etcd, as a restore has to leave them in the directory that it goes away from.
struct KeptFiles: Equatable {
    struct File: Equatable {
        var inode: String
        var size: String
        var modified: String
    }

    /// By their paths: databases and logs below "member".
    var files: [String: File] = [:]

    /// - Parameter listing: "INODE SIZE MTIME PATH" a line.
    init(_ listing: String) {
        for line in listing.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if words.count == 4 { files[words[3]] = File(inode: words[0], size: words[1], modified: words[2]) }
        }
    }

    func below(_ directory: String) -> [String: File] { files.filter { $0.key.hasPrefix(directory + "/member/") } }
}

extension LabFleet {
    /// - Parameter pattern: directories of data, as the shell expands it.
    func keptFiles(_ node: String, _ pattern: String) async throws -> KeptFiles {
        let find = """
            for d in $1; do [ ! -d "$d/member" ] || \
            find "$d/member" \\( -name db -o -name '*.wal' \\) -type f -printf '%i %s %T@ %p\\n' || exit; done
            """
        return KeptFiles(try await exec(node, "sh", "-c", find, "sh", pattern))
    }
}

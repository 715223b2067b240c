import FleetCrypto
import FleetSystem

/// What all parts of an open repository share.
///
///     ROOT/config               format and wrapped data keys
///     ROOT/packs/ID.pack        pages, in compressed and sealed blocks
///     ROOT/snapshots/ID         a snapshot: record and page map; what has no such file is not there
///     ROOT/incoming/KEY         log of an upload that is under way
///     ROOT/state/NAME           copies of what the owner knows besides
///     ROOT/bundles/NAME         what belongs to snapshots and is not in them
final class RepositoryCore: Sendable {
    let root: String
    let files: any RepositoryFiles
    let keys: DataKeys
    let zstd = Zstd()
    let pool = WorkPool()
    let cache = BlockCache(limit: 88 << 20)

    init(root: String, files: any RepositoryFiles, keys: DataKeys) {
        self.root = root
        self.files = files
        self.keys = keys
    }

    func path(_ pack: PackID) -> String { "\(root)/packs/\(pack.fileName)" }
    func snapshotPath(_ id: String) -> String { "\(root)/snapshots/\(id)" }
    func logPath(_ key: String) -> String { "\(root)/incoming/\(key)" }

    func fingerprinter() -> Fingerprinter { Fingerprinter(key: keys.first.derive("fleet repository fingerprints")) }
}

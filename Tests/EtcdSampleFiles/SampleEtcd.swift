/// A small etcd's database, made by hand: revisions, deletions, a compaction, a lease, an alarm, members and users.
package struct SampleEtcd {
    package var writer = BoltWriter()
    package var hasMembers = true
    private var keys: [BoltWriter.Entry] = []
    private var main: UInt64 = 1
    private var versions: [String: (create: UInt64, version: UInt64)] = [:]

    package init(pageSize: Int = 1024, keepsFreelist: Bool = false) {
        writer.pageSize = pageSize
        writer.keepsFreelist = keepsFreelist
    }

    package mutating func put(_ key: String, _ value: [UInt8], lease: UInt64 = 0) {
        main += 1
        let old = versions[key]
        let now = (create: old?.create ?? main, version: (old?.version ?? 0) + 1)
        versions[key] = now
        var message = text(1, Array(key.utf8)) + number(2, now.create) + number(3, main) + number(4, now.version)
        message += text(5, value)
        if lease != 0 { message += number(6, lease) }
        keys.append((big(main) + [0x5f] + big(UInt64(0)), message))
    }

    package mutating func delete(_ key: String) {
        main += 1
        versions[key] = nil
        keys.append((big(main) + [0x5f] + big(UInt64(0)) + [0x74], text(1, Array(key.utf8))))
    }

    /// Nothing is left of a key that was deleted, as behind a compaction at its deletion.
    package mutating func compactAway(_ key: String) {
        let field = text(1, Array(key.utf8))
        keys.removeAll { $0.1.starts(with: field) }
    }

    /// As 'snapshot restore --bump-revision' does it.
    package mutating func bump(by count: UInt64) {
        main += count
        keys.append((big(main) + [0x5f] + big(UInt64(0)), []))
    }

    /// Pages; `compacted` is written as a finished compaction, without removing anything.
    package func build(compacted: UInt64? = nil) -> [UInt8] {
        var writer = writer
        writer.add("key", keys)
        var meta: [BoltWriter.Entry] = [
            (Array("consistent_index".utf8), big(main + 5)), (Array("term".utf8), big(UInt64(2))),
            (Array("confState".utf8), Array(#"{"voters":[1],"auto_leave":false}"#.utf8)),
        ]
        if let compacted {
            let revision = big(compacted) + [0x5f] + big(UInt64(0))
            meta += [(Array("finishedCompactRev".utf8), revision), (Array("scheduledCompactRev".utf8), revision)]
        }
        writer.add("meta", meta)
        writer.add("lease", [(big(UInt64(77)), number(1, 77) + number(2, 600))])
        writer.add("alarm", [(number(1, 0x8e9e_05c5_2164_694d) + number(2, 1), [])])
        writer.add("cluster", [(Array("clusterVersion".utf8), Array("3.5.0".utf8))])
        let member = (
            Array("8e9e05c52164694d".utf8),
            Array(#"{"id":10276657743932975437,"peerURLs":["http://a:2380"],"name":"a"}"#.utf8)
        )
        writer.add("members", hasMembers ? [member] : [])
        writer.add("members_removed", [(Array("1f".utf8), Array("removed".utf8))])
        writer.add("auth", [(Array("authEnabled".utf8), [1]), (Array("authRevision".utf8), big(UInt64(3)))])
        writer.add("authUsers", [(Array("root".utf8), text(1, Array("root".utf8)) + text(3, Array("root".utf8)))])
        writer.add("authRoles", [(Array("root".utf8), text(1, Array("root".utf8)))])
        return writer.build()
    }

    /// Keys enough for branches, a value of several pages, old revisions, deletions, keys that came back.
    package static func rich(pageSize: Int = 1024, keepsFreelist: Bool = false) -> SampleEtcd {
        var sample = SampleEtcd(pageSize: pageSize, keepsFreelist: keepsFreelist)
        for i in 0..<24 {
            sample.put("/registry/pods/ns-\(i % 3)/pod-\(i)", [UInt8](repeating: UInt8(i), count: 20 + i * 3))
        }
        sample.put("/registry/secrets/ns-1/big", [UInt8](repeating: 7, count: 2 * pageSize + 100))
        for i in 0..<4 { sample.put("/registry/leases/kube-node-lease/n", [UInt8(i)], lease: 77) }
        sample.delete("/registry/pods/ns-0/pod-3")
        sample.delete("/registry/pods/ns-1/pod-4")
        sample.put("/registry/pods/ns-1/pod-4", [1])
        return sample
    }
}

private func varint(_ number: UInt64) -> [UInt8] {
    var (rest, bytes) = (number, [UInt8]())
    while rest > 127 {
        bytes.append(UInt8(rest & 127) | 128)
        rest >>= 7
    }
    return bytes + [UInt8(rest)]
}
package func number(_ field: UInt64, _ value: UInt64) -> [UInt8] { varint(field << 3) + varint(value) }
package func text(_ field: UInt64, _ value: [UInt8]) -> [UInt8] {
    varint(field << 3 | 2) + varint(UInt64(value.count)) + value
}

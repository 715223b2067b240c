import FleetCrypto
import FleetSystem

/// Writes the inputs that fuzzing begins with: one of every shape that a snapshot can have.
@main enum Corpus {
    static func main() throws {
        let directory = CommandLine.arguments[1]
        try FileSystem.makeDirectories(directory)
        for keepsFreelist in [false, true] {
            var small = SampleEtcd(keepsFreelist: keepsFreelist)
            small.put("a", [1])
            small.put("a", [2])
            small.delete("a")
            var many = SampleEtcd(keepsFreelist: keepsFreelist)
            for i in 0..<40 { many.put("/registry/pods/ns/\(i % 30)", [UInt8(i)]) }
            let samples = [
                "empty": SampleEtcd(keepsFreelist: keepsFreelist), "small": small, "many": many, "rich": .rich(),
            ]
            for (name, sample) in samples {
                let pages = sample.build(compacted: 3)
                try write("\(directory)/\(name)-\(keepsFreelist)-raw", pages)
                try write("\(directory)/\(name)-\(keepsFreelist)", pages + SHA256.hash(pages))
            }
        }
        try write("\(directory)/pages-4096", SampleEtcd.rich(pageSize: 4096).build())
    }

    private static func write(_ path: String, _ bytes: [UInt8]) throws { try FileSystem.writeDurably(path, bytes) }
}

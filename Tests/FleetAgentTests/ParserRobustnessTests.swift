import FleetSystem
import FleetYAML
import Testing

@testable import FleetAgent

/// Damaged files of every kind: each parser ends in values or in an error, never in a trap, and what can be edited is
/// edited exactly.
@Suite struct ParserRobustnessTests {
    /// The same numbers in every run (SplitMix64).
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
            return z ^ z >> 31
        }
    }

    private static let pieces = [
        "\"", "'", "\\", "\n", "=", "$", "${", "}", "$(", ")", "%", "%q", "%%", "#", ";", ":", "- ", "&a ", "*a",
        "!!str ",
        "|", ">", "{", "[", "]", "\t", "\0", "\u{FEFF}", "é", "\r\n", "--", "--data-dir", "@", "~", "?",
    ].map { Array($0.utf8) }

    private func damaged(_ text: String, _ generator: inout Generator) -> [UInt8] {
        var bytes = Array(text.utf8)
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let place = Int.random(in: 0...bytes.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: bytes.insert(contentsOf: Self.pieces.randomElement(using: &generator)!, at: place)
            case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...20, using: &generator)))
            case 2: bytes = Array(bytes[..<place])
            default: if place < bytes.count { bytes[place] = UInt8.random(in: 0...255, using: &generator) }
            }
        }
        return bytes
    }

    @Test(arguments: 1...4) func manifests(seed: UInt64) {
        var generator = Generator(state: seed)
        for _ in 0..<500 {
            let bytes = damaged(Layouts.kubeadmManifest, &generator)
            _ = try? PodManifest(bytes, file: "f")
            _ = try? EtcdConfigFile.settings(bytes, file: "f")
            guard
                let node = try? YAML.document(bytes, file: "f")?["spec"]?["volumes"]?.items?.last?["hostPath"]?["path"],
                let edited = try? YAML.replacing(node, with: "/new", in: bytes, file: "f")
            else { continue }
            let again = try? YAML.document(edited, file: "f")?["spec"]?["volumes"]?.items?.last?["hostPath"]?["path"]
            #expect(again?.text == "/new")
            #expect(edited.prefix(node.range.lowerBound) == bytes.prefix(node.range.lowerBound))
            #expect(
                edited.suffix(bytes.count - node.range.upperBound) == bytes.suffix(bytes.count - node.range.upperBound))
        }
    }

    @Test(arguments: 1...4) func units(seed: UInt64) {
        var generator = Generator(state: seed)
        let texts = [
            Layouts.debianUnit, Layouts.rpm["/usr/lib/systemd/system/etcd.service"]!,
            Layouts.unitFlags["/etc/systemd/system/etcd.service"]!, Layouts.kubespray["/etc/etcd.env"]!,
        ]
        let specifiers = UnitSpecifiers(unit: "a@b-c.service", fragment: "/f", hostName: "h", machineID: "m")
        for _ in 0..<500 {
            let bytes = damaged(texts.randomElement(using: &generator)!, &generator)
            let variables = EnvironmentFile.parse(bytes, path: "e")
            let environment = Dictionary(variables.map { ($0.name, $0.value) }) { $1 }
            for directive in UnitFile(bytes, path: "u").directives {
                for word in UnitWords.split(directive.value) {
                    // What claims to be written somewhere is written there.
                    if let range = word.range { #expect(bytes[range].elementsEqual(word.bytes.map(\.value))) }
                    let expanded = UnitVariables.expand((try? specifiers.expand(word)) ?? word, environment)
                    _ = try? EtcdFlags.parse(expanded)
                    _ = try? ShellCommand.parse(word, environment)
                }
            }
        }
    }
}

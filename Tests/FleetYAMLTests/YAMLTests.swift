import FleetSystem
import FleetYAML
import Testing

@Suite struct YAMLTests {
    private func parse(_ text: String) throws -> YAMLNode? { try YAML.document(Array(text.utf8), file: "f.yaml") }

    private func code(_ text: String) -> FleetError.Code? {
        do {
            _ = try parse(text)
            return nil
        } catch { return (error as? FleetError)?.code }
    }

    @Test func positionsAreBytes() throws {
        let text = "\u{FEFF}# é漢\nname: \"ö\" # comment\nlist: [a, 'b']\n"
        let root = try #require(try parse(text))
        let bytes = Array(text.utf8)
        let name = try #require(root["name"])
        #expect(String(decoding: bytes[name.range], as: UTF8.self) == "\"ö\"")
        #expect((name.line, name.column) == (2, 7))
        #expect(name.scalar?.style == .doubleQuoted)
        let second = try #require(root["list"]?.items?.last)
        #expect(String(decoding: bytes[second.range], as: UTF8.self) == "'b'")
    }

    @Test(arguments: [
        ("a: /old # c\n", "a: /new # c\n"), ("a:   '/old'\t# c\n", "a:   '/new'\t# c\n"),
        ("a: \"/old\"", "a: \"/new\""), ("{x: 1, a: /old, b: 2}\n", "{x: 1, a: /new, b: 2}\n"),
        ("\u{FEFF}é: 1\r\na: /old\r\nb: 2\r\n", "\u{FEFF}é: 1\r\na: /new\r\nb: 2\r\n"),
    ])
    func editsOnlyTheBytesItMust(before: String, after: String) throws {
        let bytes = Array(before.utf8)
        let node = try #require(try parse(before)?["a"])
        let edited = try YAML.replacing(node, with: "/new", in: bytes, file: "f.yaml")
        #expect(String(decoding: edited, as: UTF8.self) == after)
    }

    @Test func quotesWhatCanNotBePlain() throws {
        for value in ["/with space", "true", "/a: b", "#x", "/a\"b\\c", ""] {
            let before = "a: /old\n"
            let node = try #require(try parse(before)?["a"])
            let edited = try YAML.replacing(node, with: value, in: Array(before.utf8), file: "f.yaml")
            #expect(try YAML.document(edited, file: "f.yaml")?["a"]?.scalar?.value == value)
        }
        let single = "a: 'x'\n"
        let node = try #require(try parse(single)?["a"])
        let edited = try YAML.replacing(node, with: "it's", in: Array(single.utf8), file: "f.yaml")
        #expect(String(decoding: edited, as: UTF8.self) == "a: 'it''s'\n")
    }

    @Test func refusesToEditWhatIsShared() throws {
        let text = "a: &x /old\nb: *x\n"
        let root = try #require(try parse(text))
        #expect(root["b"]?.text == "/old")
        for key in ["a", "b"] {
            let error = #expect(throws: FleetError.self) {
                try YAML.replacing(root[key]!, with: "/new", in: Array(text.utf8), file: "f.yaml")
            }
            #expect(error?.code == .yamlNotEditable)
        }
    }

    @Test func namesWhatIsWrong() {
        #expect(code("a: 1\nb: 2\na: 3\n") == .yamlDuplicateKey)
        #expect(code("a: [1, 2\n") == .yamlSyntax)
        #expect(code("a: *nowhere\n") == .yamlSyntax)
        #expect(code("a: &x [*x]\n") == .yamlSyntax)
        #expect(code("<<: {a: 1}\n") == .yamlSyntax)
        #expect(code("a: 1\n---\nb: 2\n") == .yamlSyntax)
        #expect(code(String(repeating: "[", count: 100) + String(repeating: "]", count: 100)) == .yamlSyntax)
        #expect(code("") == nil)
    }

    @Test func aliasesDoNotExpandWithoutEnd() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let names = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(names)]\n"
        }
        #expect(code(text) == .yamlSyntax)
    }

    @Test func bytesThatAreNoTextAreRefused() {
        for bytes: [UInt8] in [[0xFF, 0xFE, 0x61, 0], [0x61, 0x3A, 0x20, 0xC3, 0x28], [0x61, 0x00]] {
            let error = #expect(throws: FleetError.self) { try YAML.documents(bytes, file: "f.yaml") }
            #expect(error?.code == .yamlSyntax)
        }
    }

    @Test func readsAllDocuments() throws {
        let all = try YAML.documents(Array("---\nkind: A\n---\n# nothing\n---\nkind: B\n...\n".utf8), file: "f.yaml")
        #expect(all.map { $0["kind"]?.text } == ["A", "B"])
        #expect(all.last?.line == 6)
    }
}

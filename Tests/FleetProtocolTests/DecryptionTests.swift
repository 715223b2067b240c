import FleetProtocol
import FleetSystem
import Testing

/// Whether what is kept with a snapshot decrypts it.
@Suite struct DecryptionTests {
    private func kept(_ keys: [String]?, decrypts: Bool? = true) -> NodeBundle {
        NodeBundle(
            node: "n", bundle: "b", collected: Timestamp(milliseconds: 1), confirmed: Timestamp(milliseconds: 1),
            files: 1,
            bytes: 1, decrypts: decrypts, encryptionKeys: keys)
    }

    private func missing(_ providers: [String]?, _ keys: [String]?, _ kept: [NodeBundle]) -> [String]? {
        Decryption(providers: providers, keys: keys, kept: kept)?.missing
    }

    @Test func namesAreCompared() {
        let (all, needed) = (["aescbc", "kms"], ["aescbc/key9", "kms/mykms"])
        let lost = Decryption(providers: all, keys: needed, kept: [kept(["aescbc/key1"]), kept(nil, decrypts: false)])
        #expect(lost?.missing == needed && lost?.offered == ["aescbc/key1"] && lost?.isKept == false)
        #expect(missing(all, needed, [kept(["aescbc/key9"]), kept(["kms/mykms", "aescbc/key1"])]) == [])
        #expect(missing(all, needed, [kept(["aescbc/key9", "kms/other"])]) == ["kms/mykms"])
        #expect(missing(all, needed, [kept(["aesgcm/key9", "secretbox/mykms"])]) == needed)
        #expect(missing(all, needed, [kept([])]) == needed, "identity alone")
    }

    @Test func nothingIsKeptAtAll() {
        let lost = Decryption(providers: ["aescbc"], keys: ["aescbc/key1"], kept: [kept(nil, decrypts: false)])
        #expect(lost?.missing == ["aescbc/key1"] && lost?.offered == [])
        #expect(missing(["other"], ["other"], []) == ["other"])
    }

    /// Records and agents of before, and what has no name: no word that may be false.
    @Test func whatCantBeToldIsNotMissing() {
        #expect(missing(nil, nil, []) == nil && missing([], [], []) == nil)
        #expect(missing(["aescbc"], nil, [kept(nil)]) == [])
        #expect(missing(["aescbc"], ["aescbc/key9"], [kept(nil, decrypts: nil)]) == [])
        #expect(missing(["aescbc"], ["aescbc/key9"], [kept(["aescbc/key1"]), kept(nil)]) == [])
        #expect(missing(["aescbc"], nil, [kept(["aescbc/key1"])]) == [])
        #expect(missing(["aescbc", "kms"], nil, [kept(["aescbc/key1"])]) == ["kms"])
        #expect(missing(["aescbc"], ["aescbc"], [kept(["aescbc/key1"])]) == [])
        #expect(missing(["other"], ["other"], [kept(["aescbc/key1"])]) == [])
        // Old revisions alone.
        #expect(missing(["aescbc"], [], []) == [])
    }

    @Test func names() {
        #expect(EncryptionKeyName.make("kms", "a:b".utf8) == "kms/a")
        #expect(EncryptionKeyName.words(["aescbc/key9", "kms/my/kms", "other"]) == "aescbc key9, kms my/kms and other")
        for good in ["aescbc", "kms/x", "aesgcm/a/b", "secretbox/" + String(repeating: "x", count: 64)] {
            #expect(EncryptionKeyName.isValid(good), "\(good)")
        }
        for bad in [
            "", "identity", "kms/", "kms/a:b", "kms/a b", "kms/\u{1b}", "kms/" + String(repeating: "x", count: 65),
        ] {
            #expect(!EncryptionKeyName.isValid(bad), "\(bad)")
        }
    }

    /// A record and a manifest of before have neither names nor a word of their absence.
    @Test func recordsOfBefore() throws {
        let file =
            #""path":"/e","kind":"encryption","size":0,"sha256":"\#(String(repeating: "0", count: 64))","mode":384,"#
        let text =
            #"{"version":1,"files":[{\#(file)"owner":0,"group":0,"modified":1,"holdsSecret":true}],"links":[],"#
            + #""leftOut":[],"moreLeftOut":0}"#
        let manifest = try JSON.decode(BundleManifest.self, from: text.utf8)
        try manifest.check()
        #expect(manifest.decrypts && manifest.encryptionKeys == nil)
        #expect(try JSON.text(manifest) == JSON.text(JSON.decode(BundleManifest.self, from: JSON.encode(manifest))))
        #expect(try !JSON.text(manifest).contains("encryptionKeys"), "its bytes are hashed")
    }

    @Test func aManifestIsChecked() throws {
        func check(_ keys: [String]) throws {
            let file = BundleManifest.File(
                path: "/e", kind: "encryption", size: 0, sha256: String(repeating: "0", count: 64), mode: 0, owner: 0,
                group: 0, modified: 0, holdsSecret: true, encryptionKeys: keys)
            try BundleManifest(files: [file]).check()
        }
        try check(["aescbc/key1"])
        #expect(throws: FleetError.self) { try check(["aescbc/\u{1b}[31m"]) }
        #expect(throws: FleetError.self) { try check(["aescbc/the key: secret"]) }
        #expect(throws: FleetError.self) { try check((0...BundleLimits.encryptionKeys).map { "kms/\($0)" }) }
    }
}

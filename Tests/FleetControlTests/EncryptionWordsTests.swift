import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

/// What `snapshot show` and `bundle show` say of values that kube-apiserver has encrypted.
@Suite struct EncryptionWordsTests {
    private func kept(_ needed: [String], _ offered: [String]?, decrypts: Bool = true) -> String? {
        let time = Timestamp("2026-11-24T00:00:00Z")!
        let bundle = NodeBundle(
            node: "n", bundle: "b", collected: time, confirmed: time, files: 1, bytes: 1, decrypts: decrypts,
            encryptionKeys: offered)
        return Decryption(providers: ["aescbc"], keys: needed, kept: [bundle]).flatMap(EncryptionWords.kept)
    }

    @Test func whatIsMissingIsNamed() {
        #expect(
            kept(["aescbc/key9", "kms/mykms"], ["aescbc/key1"])
                == "not kept: aescbc key9 and kms mykms; the kept configuration has aescbc key1")
        #expect(kept(["aescbc/key9"], nil, decrypts: false) == "not kept: no configuration with it has aescbc key9")
        #expect(kept(["aescbc/key9"], ["aescbc/key9"])?.hasPrefix("aescbc key9 in the configuration") == true)
        #expect(kept(["kms/mykms"], ["kms/mykms"])?.hasSuffix("the key is with the KMS") == true)
    }

    @Test func nothingIsClaimedThatIsNotKnown() {
        #expect(kept(["aescbc/key9"], nil) == nil)
        #expect(kept(["other"], ["aescbc/key9"]) == nil)
        #expect(kept([], ["aescbc/key9"]) == nil)
        #expect(EncryptionWords.line(["aescbc"], nil).contains("(aescbc)"))
        #expect(EncryptionWords.line(["aescbc"], ["aescbc/key9"]).contains("(aescbc key9)"))
        #expect(EncryptionWords.line(["aescbc"], []).hasPrefix("old revisions alone"))
    }
}

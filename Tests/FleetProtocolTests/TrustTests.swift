import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import Testing

@Suite struct EnvelopeTests {
    let job = Job(
        id: "20261124-065510-k3f9", node: "node-1", cluster: "cluster-a", counter: 7,
        issued: Timestamp(milliseconds: 0),
        expires: Timestamp(milliseconds: 1), operation: .backup(.init(snapshot: "20261124-065511-aaaa")))

    func isRefused(_ envelope: Envelope, _ key: VerifyingKey) -> Bool {
        do { _ = try envelope.job(verifiedBy: key) } catch { return error.code == .badSignature }
        return false
    }

    @Test func signedAndVerified() throws {
        let key = try PrivateKey.generateEd25519()
        let verifyingKey = try VerifyingKey(raw: try key.rawPublicKey())
        let envelope = try JobSigner(key: key).sign(job)
        #expect(try envelope.job(verifiedBy: verifyingKey) == job)

        var changed = envelope
        changed.payload = try JSON.encode(
            Job(
                id: job.id, node: "node-2", cluster: job.cluster, counter: job.counter, issued: job.issued,
                expires: job.expires, operation: job.operation)
        ).base64
        #expect(isRefused(changed, verifyingKey), "another payload")
        changed = envelope
        changed.payloadType += "x"
        #expect(isRefused(changed, verifyingKey), "another type")
        changed = envelope
        changed.signatures = []
        #expect(isRefused(changed, verifyingKey), "no signature")
        let other = try JobSigner(key: try PrivateKey.generateEd25519()).sign(job)
        #expect(isRefused(other, verifyingKey), "another key")
        changed = envelope
        changed.signatures[0].sig = other.signatures[0].sig
        #expect(isRefused(changed, verifyingKey), "another key's signature under our key's id")
    }

    /// The example of the DSSE specification.
    @Test func preAuthenticationEncoding() {
        let encoded = Envelope.preAuthenticationEncoding(
            type: "http://example.com/HelloWorld", payload: Array("hello world".utf8))
        #expect(String(decoding: encoded, as: UTF8.self) == "DSSEv1 29 http://example.com/HelloWorld 11 hello world")
    }

    @Test func everyFlippedBitIsFound() throws {
        let key = try PrivateKey.generateEd25519()
        let verifyingKey = try VerifyingKey(raw: try key.rawPublicKey())
        let envelope = try JobSigner(key: key).sign(job)
        let payload = [UInt8](base64: envelope.payload)!
        for bit in 0..<(payload.count * 8) {
            var bytes = payload
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            var changed = envelope
            changed.payload = bytes.base64
            #expect(isRefused(changed, verifyingKey))
        }
    }
}

@Suite struct JoinTokenTests {
    @Test func roundTrip() throws {
        let fingerprint = String(repeating: "ab", count: 32)
        for address in ["10.0.0.1:7400", "fleet.example.org:1", "[fd00::1]:7400"] {
            let token = JoinToken(address: try Address(address), authorityFingerprint: fingerprint)
            #expect(try JoinToken(token.text) == token)
            #expect(token.text.hasSuffix("@\(address)"))
        }
    }

    @Test(arguments: [
        "", "fleet1", "fleet1.aa.bb@h:1",
        "fleet2.\(String(repeating: "0", count: 32)).\(String(repeating: "0", count: 64))@h:1",
        "fleet1.\(String(repeating: "0", count: 32)).\(String(repeating: "0", count: 64))",
        "fleet1.\(String(repeating: "0", count: 32)).\(String(repeating: "0", count: 64))@h",
    ])
    func malformedTokensAreNotRepeated(_ text: String) {
        do {
            _ = try JoinToken(text)
            Issue.record("accepted")
        } catch {
            #expect(error.code == .malformed && error.hint != nil)
            #expect(text.isEmpty || !error.message.contains(text))
        }
    }
}

import FleetSystem
import Testing

@Suite struct UnifiedDiffTests {
    @Test func oneLineInTheMiddle() {
        let before = (1...9).map { "line \($0)\n" }.joined()
        let after = before.replacing("line 5\n", with: "line five\n")
        #expect(
            UnifiedDiff.text(path: "/etc/f", before: before, after: after)
                == "--- /etc/f\n+++ /etc/f\n@@ -2,7 +2,7 @@\n line 2\n line 3\n line 4\n-line 5\n+line five\n line 6\n line 7\n line 8\n"
        )
    }

    @Test func aNewFileAndNoChange() {
        #expect(
            UnifiedDiff.text(path: "/f", before: "", after: "a\nb\n")
                == "--- /dev/null\n+++ /f\n@@ -0,0 +1,2 @@\n+a\n+b\n")
        #expect(UnifiedDiff.text(path: "/f", before: "a\n", after: "a\n") == "")
    }

    /// What patch(1) makes of the old text with our diff is the new text.
    @Test(arguments: 0..<40) func patchAccepts(_ seed: Int) async throws {
        var random = SystemRandomNumberGenerator()
        let before = (0..<Int.random(in: 1...60, using: &random)).map { "\($0 % 7)" }
        var after = before
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let at = Int.random(in: 0...after.count, using: &random)
            if Bool.random(using: &random), at < after.count {
                after.remove(at: at)
            } else {
                after.insert("new \(at)", at: at)
            }
        }
        let texts = [before, after].map { $0.map { $0 + "\n" }.joined() }
        guard texts[0] != texts[1], !texts[1].isEmpty else { return }
        let diff = UnifiedDiff.text(path: "f", before: texts[0], after: texts[1])
        let file = "/tmp/fleet-diff-\(Randomness.token(10))"
        try FileSystem.writeDurably(file, texts[0].utf8)
        let outcome = try await Blocking.run {
            try Subprocess.run("/usr/bin/patch", ["-s", "-F0", file], input: Array(diff.utf8))
        }
        #expect(outcome.succeeded, "\(outcome.outputText)\(outcome.complaint)\n\(diff)")
        #expect(try FileSystem.readText(file) == texts[1])
        try FileSystem.remove(file)
    }
}

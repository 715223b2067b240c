import FleetSystem
import Testing

@Suite struct UnifiedDiffTests {
    @Test func asDiffPrintsIt() throws {
        let tree = try NodeTree()
        let texts = [
            "", "a\n", "a", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n", "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nK\nl\n",
            "a\nb\nc\nd\ne\nf\ng\nX\nY\nh\ni\nk\nl", "b\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n",
        ]
        for before in texts {
            for after in texts {
                try tree.write("/a", before)
                try tree.write("/b", after)
                let outcome = try Subprocess.run("/usr/bin/diff", ["-u", tree.root + "/a", tree.root + "/b"])
                func body(_ text: String) -> [Substring] { Array(text.split(separator: "\n").dropFirst(2)) }
                #expect(body(UnifiedDiff.text(before: before, after: after, path: "x")) == body(outcome.outputText))
            }
        }
        #expect(UnifiedDiff.text(before: nil, after: "x\n", path: "/p") == "--- /dev/null\n+++ /p\n@@ -0,0 +1 @@\n+x\n")
    }
}

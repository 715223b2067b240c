import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetControl
@testable import FleetCoordinator

private let chromium = "/usr/bin/chromium"

/// The page in a real browser, which knows better than any test what it shows and what it asks for.
@Suite(
    "Report in Chromium", .serialized, .enabled(if: FileSystem.exists(chromium)),
    .timeLimit(.minutes(15)))
struct ReportPageTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func run(_ words: [String], width: Int = 1280) async throws -> Subprocess.Outcome {
        let home = directory.path
        return try await Blocking.run {
            try Subprocess.run(
                chromium,
                [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                    "--user-data-dir=\(home)/profile", "--virtual-time-budget=5000", "--window-size=\(width),1000",
                ] + words,
                environment: Subprocess.defaultEnvironment.merging(["HOME": home, "XDG_RUNTIME_DIR": home]) { $1 },
                directory: home, deadline: .seconds(240), outputLimit: 64 << 20)
        }
    }

    /// The page with a script behind it that asks the browser for what it made of the page.
    private func dom(_ html: [UInt8], width: Int = 1280, _ script: String) async throws -> String {
        var page = String(decoding: html, as: UTF8.self)
        // Only in this copy: the page itself forbids every script.
        page = page.replacing(
            "default-src 'none'; style-src 'unsafe-inline'", with: "default-src 'self' 'unsafe-inline'")
        page = page.replacing(
            "</body>", with: "<script>document.body.dataset.answer = String((() => { \(script) })());</script></body>")
        let path = directory.path + "/probe.html"
        try FileSystem.writeDurably(path, Array(page.utf8))
        let outcome = try await run(["--dump-dom", "file://\(path)"], width: width)
        try #require(outcome.succeeded, "\(outcome.complaint)")
        let text = outcome.outputText
        let begin = try #require(text.range(of: "data-answer=\""))
        return String(text[begin.upperBound...].prefix { $0 != "\"" })
    }

    @Test func tablesAndChartsAreThere() async throws {
        let html = try ReportFormat.html.render(try SampleEvents(clusters: 3, days: 90).report().signed())
        let counts = try await dom(
            html,
            """
            const strips = [...document.querySelectorAll('table.days tbody svg')];
            const boxes = strips.map(s => s.getBoundingClientRect());
            const height = c => document.querySelector('.legend path.' + c).getBoundingClientRect().height;
            return [document.querySelectorAll('section').length, document.querySelectorAll('table').length,
                strips.length, boxes.every(b => b.width > 300 && b.height > 8),
                document.querySelector('#growth-chart path.line').getTotalLength() > 300,
                document.querySelector('#store-chart path.line').getTotalLength() > 300,
                document.querySelector('#drill-chart path.proven').getBBox().width > 300,
                height('missed') > 2 * height('met') && height('met') > 2 * height('free'),
                [...document.querySelectorAll('svg')].every(s => s.querySelector('title').textContent.length > 2),
                [...document.querySelectorAll('table')].every(t => t.caption && t.tHead),
                document.documentElement.scrollWidth <= window.innerWidth,
                document.querySelectorAll('#backups tbody tr').length,
                JSON.parse(document.getElementById('report').textContent).clusters.length].join(' ');
            """)
        let report = try SampleEvents(clusters: 3, days: 90).report()
        let parts = counts.split(separator: " ")
        #expect(parts.first == "13" && parts.count == 13, "\(counts)")
        #expect(parts[2] == "3")
        #expect(parts[3...10].allSatisfy { $0 == "true" }, "\(counts)")
        #expect(parts[11] == "\(report.backups.rows.count)" && parts[12] == "3")
    }

    /// Also where names are as long as they may be: a table that is wider than the window scrolls by itself.
    @Test(arguments: [1100, 700]) func nothingIsWiderThanTheWindow(_ width: Int) async throws {
        let sample = try SampleEvents(clusters: 3, days: 90) {
            "production-europe-west-\($0)-control-plane-of-payments"
        }
        let found = try await dom(
            try ReportFormat.html.render(try sample.report().signed()), width: width,
            """
            return [innerWidth, document.documentElement.scrollWidth <= innerWidth,
                [...document.querySelectorAll('table')].every(t => t.parentElement.clientWidth <= innerWidth
                    && (t.offsetWidth <= t.parentElement.clientWidth
                        || getComputedStyle(t.parentElement).overflowX == 'auto'))].join(' ');
            """)
        #expect(found == "\(width) true true")
    }

    @Test(arguments: [1, 2, 30, 90]) func chartsSayWhatTheyShowAndWhen(_ days: Int) async throws {
        let report = try SampleEvents(clusters: 2, days: days).report()
        let (first, last) = (report.clusters[0].days.first!.date, report.clusters[0].days.last!.date)
        let found = try await dom(
            try ReportFormat.html.render(try report.signed()),
            """
            return ['growth-chart', 'store-chart', 'drill-chart'].map(id => document.getElementById(id)).filter(s => s).map(s => {
                const dates = [...s.querySelectorAll('text')].filter(t => /^\\d{4}-/.test(t.textContent));
                const boxes = dates.map(t => t.getBoundingClientRect());
                const frame = s.getBoundingClientRect();
                return [s.parentElement.querySelector('figcaption').textContent.length > 20,
                    dates[0].textContent, dates[dates.length - 1].textContent,
                    boxes.every((b, i) => b.left >= frame.left && b.right <= frame.right + 1
                        && (i == 0 || b.left > boxes[i - 1].right))].join(' ');
            }).join(';');
            """)
        let expected = "true \(first) \(last) true"
        #expect(found == (Array(repeating: expected, count: report.drills.rows.isEmpty ? 2 : 3).joined(separator: ";")))
    }

    /// Neither a script, nor a request, whatever names are in it; and it parses as it was written.
    @Test func nothingIsRunAndNothingIsFetched() async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                try #require(bind(listener, raw, length) == 0 && listen(listener, 16) == 0)
                try #require(getsockname(listener, raw, &length) == 0)
            }
        }
        let url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        var sample = try SampleEvents(clusters: 2, days: 8)
        let bad =
            "\"><img src='\(url)/i'><link rel=stylesheet href=\(url)/c><script src=\(url)/s></script><style>@import url(\(url)/t)</style>"
        sample.add("token.create", by: bad, cluster: bad, subject: bad, [bad: bad])
        sample.add(
            "job.end", by: bad, cluster: bad, subject: "j", outcome: .failed,
            ["kind": "backup", "state": "failed", "error": bad])
        sample.add("restore.create", by: bad, cluster: bad, subject: bad, ["nodes": bad])
        let html = try ReportFormat.html.render(try sample.report().signed())
        let path = directory.path + "/hostile.html"
        try FileSystem.writeDurably(path, html)
        let outcome = try await run(["--dump-dom", "file://\(path)"])
        try #require(outcome.succeeded, "\(outcome.complaint)")
        #expect(outcome.outputText.contains("Audit report of the etcd backup fleet"))
        var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        #expect(poll(&ready, 1, 0) == 0, "something was asked of the network")
        let found = try await dom(
            html,
            """
            return [document.querySelectorAll('img,link,iframe,object,[onerror],[onload]').length,
                document.querySelectorAll('script[src]').length, document.querySelectorAll('style').length,
                document.querySelectorAll('script[type="application/json"]').length,
                performance.getEntriesByType('resource').length].join(' ');
            """)
        #expect(found == "0 0 1 2 0")
        ready.revents = 0
        #expect(poll(&ready, 1, 0) == 0)
    }

    @Test func itPrints() async throws {
        let html = try ReportFormat.html.render(try SampleEvents(clusters: 3, days: 90).report().signed())
        try FileSystem.writeDurably(directory.path + "/r.html", html)
        let outcome = try await run([
            "--no-pdf-header-footer", "--print-to-pdf=\(directory.path)/r.pdf", "file://\(directory.path)/r.html",
        ])
        #expect(outcome.succeeded, "\(outcome.complaint)")
        let pdf = try FileSystem.read(directory.path + "/r.pdf", limit: 64 << 20)
        #expect(pdf.starts(with: "%PDF-".utf8) && pdf.count > 50_000)
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }
}

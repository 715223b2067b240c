import FleetCommandLine
import FleetCrypto
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl
@testable import FleetCoordinator

/// What the four forms of a report show, and that no byte of one can be changed unseen.
@Suite("Report files") struct ReportFileTests {
    /// Names that try to be markup, formulas, and the end of what they stand in.
    private static let hostile =
        "</script><script>alert(1)</script>--><img src=x onerror=y>\"'&|`*_\u{202e}\u{7}\n=1+2,\"x\"\u{2028}"

    private func hostileReport() throws -> AuditReport {
        var sample = try SampleEvents(clusters: 2, days: 8)
        let bad = Self.hostile
        sample.add("token.create", by: bad, cluster: bad, subject: bad, [bad: bad])
        sample.add("odd.act", by: "=cmd|'/c calc'!A1", outcome: .refused, ["error": bad])
        sample.add(
            "job.end", by: "x", cluster: bad, subject: "j", outcome: .failed,
            ["kind": "backup", "state": "failed", "error": bad])
        sample.add(
            "snapshot.drill", by: "x", cluster: bad, subject: bad, outcome: .failed, ["verdict": bad, "error": bad])
        sample.add("restore.create", by: bad, cluster: bad, subject: bad, ["nodes": bad, "snapshot": bad])
        sample.add("restore.step", by: bad, cluster: bad, subject: bad, ["step": bad, "detail": bad, "node": bad])
        return try sample.report()
    }

    @Test(arguments: ReportFormat.allCases) func nothingOfOthersIsMarkup(_ format: ReportFormat) throws {
        let signed = try hostileReport().signed()
        let bytes = try format.render(signed)
        let text = String(decoding: bytes, as: UTF8.self)
        switch format {
        case .html:
            #expect(text.components(of: "<script").count == 3, "the two of the data")
            #expect(text.components(of: "</script>").count == 3)
            #expect(text.contains("&lt;img src=x onerror=y&gt;") && !text.contains("<img"))
        case .md:
            #expect(text.components(of: "-->").count == 2 && text.components(of: "<!--").count == 2)
            #expect(text.replacing("\\<", with: "").components(of: "<").count == 2, "that of the comment")
        case .csv:
            #expect(text.contains("'=cmd"), "no formula")
            for line in text.split(separator: "\r\n") {
                #expect(try cells(String(line)).count == ReportCSV.columns.count)
            }
        case .json: #expect(!text.contains("<"))
        }
        if format != .json {
            let shown = text.split(separator: "\n").dropLast(format == .csv ? 1 : 4).joined(separator: "\n")
            #expect(!shown.contains("\u{202e}") && !shown.contains("\u{7}") && !shown.contains("\u{2028}"))
        }
        let file = try ReportFile(bytes)
        #expect(file.format == format && file.envelope == signed.envelope)
        #expect(format == .csv ? file.signed == nil : file.signed?.bytes == signed.bytes)
    }

    /// RFC 4180, by itself.
    private func cells(_ line: String) throws -> [String] {
        var (cells, isQuoted, cell) = ([String](), false, "")
        for character in line {
            if character == "\"" { isQuoted.toggle() }
            if character == ",", !isQuoted {
                cells.append(cell)
                cell = ""
            } else {
                cell.append(character)
            }
        }
        #expect(!isQuoted)
        return cells + [cell]
    }

    @Test func theCanonicalFormIsOneAndHoldsAll() throws {
        let report = try hostileReport()
        let bytes = try report.canonical()
        #expect(try JSON.decode(AuditReport.self, from: bytes) == report)
        #expect(try report.canonical() == bytes)
        #expect(!bytes.contains(UInt8(ascii: "<")) && !bytes.contains(UInt8(ascii: ">")) && !bytes.contains(10))
    }

    @Test(arguments: ReportFormat.allCases) func itIsTheSameInEachRun(_ format: ReportFormat) throws {
        let signer = try JobSigner(key: .generateEd25519())
        let one = try format.render(try SampleEvents(clusters: 3, days: 20).report().signed(signer))
        #expect(try format.render(try SampleEvents(clusters: 3, days: 20).report().signed(signer)) == one)
    }

    @Test func eachFormShowsAllSections() throws {
        let signed = try SampleEvents(clusters: 3, days: 90).report().signed()
        let html = String(decoding: try ReportFormat.html.render(signed), as: UTF8.self)
        let md = String(decoding: try ReportFormat.md.render(signed), as: UTF8.self)
        let csv = String(decoding: try ReportFormat.csv.render(signed), as: UTF8.self)
        for words in [
            "Clusters and their objectives", "Objectives day by day", "Growth of the repository", "Failures", "Drills",
            "Restores", "Refused and failed acts", "Certificates near their end", "Retention", "Backups one by one",
            "State of the audit chain", signed.report.chain.head,
        ] {
            #expect(html.contains(words) && md.contains(words), "\(words)")
        }
        for section in [
            "report", "summary", "chain", "concern", "objective", "day", "backup", "drill", "failure", "restore",
            "restore-step", "store", "deletion", "change", "refusal", "certificate", "signature",
        ] {
            #expect(csv.contains("\r\n\(section),"), "\(section)")
        }
        #expect(csv.components(of: "\r\nday,").count == 271)
        #expect(html.contains("high bar: missed"))
    }

    @Test func theSummaryCountsWhatFailedToo() throws {
        var sample = try SampleEvents(clusters: 1, days: 1)
        sample.add("key.rotate", by: "root", outcome: .failed, ["error": "no room"])
        let summary = ReportTables.summary(try sample.report())
        #expect(summary.first { $0.0 == "Acts refused or failed" }?.1 == "2", "\(summary)")
    }

    // MARK: tampering

    private struct Proven {
        var signed: SignedReport
        var proof: ReportProof
        var statement: ReportStatement

        init(_ report: AuditReport) throws {
            let key = try PrivateKey.generateEd25519()
            signed = try report.signed(JobSigner(key: key))
            statement = try signed.envelope.reportStatement()
            proof = ReportProof(
                version: FleetVersion.current, key: try key.rawPublicKey().base64,
                verdict: AuditVerdict(events: report.chain.height + 1, head: "00", firstBreak: nil, findings: []),
                hash: report.chain.head,
                making: .init(sequence: report.chain.height + 1, time: report.made, actor: "root"))
        }

        /// As the command does it; a file that can't be read is a finding too.
        func isGood(_ bytes: [UInt8]) throws -> Bool {
            do throws(FleetError) {
                let file = try ReportFile(bytes)
                let statement = try file.envelope.reportStatement()
                // The coordinator makes what the statement asks for; of another statement it would be another.
                let remade = statement == self.statement ? signed.bytes : []
                return try ReportCheck(file, statement, proof, remade: remade).isGood
            } catch {
                #expect(error.code == .malformed)
                return false
            }
        }
    }

    @Test(arguments: ReportFormat.allCases) func everyChangedByteIsFound(_ format: ReportFormat) throws {
        let proven = try Proven(try SampleEvents(clusters: 1, days: 3).report())
        let bytes = try format.render(proven.signed)
        #expect(try proven.isGood(bytes))
        var random = SplitMix(seed: 5)
        // All of the end, where the data and the signature stand, and a part of the rest.
        let tail = max(0, bytes.count - 700)
        let places = Array(tail..<bytes.count) + (0..<150).map { _ in Int.random(in: 0..<tail, using: &random) }
        // But for what nobody can have signed: the name of the program that wrote the file.
        let writer = Array("\(ReportFormat.writer)\(FleetVersion.current)".utf8)
        let name =
            format == .html
            ? nil
            : bytes.firstRange(of: writer).map { ($0.upperBound - FleetVersion.current.utf8.count)..<$0.upperBound }
        for place in places where name?.contains(place) != true {
            var changed = bytes
            changed[place] ^= [1, 2, 4, 32].randomElement(using: &random)!
            #expect(try !proven.isGood(changed), "byte \(place) of \(bytes.count)")
        }
        for cut in [0, 1, 50, bytes.count / 2, bytes.count - 1] {
            #expect(try !proven.isGood(Array(bytes.prefix(cut))), "only \(cut) bytes")
        }
        #expect(try !proven.isGood(bytes + Array("\n".utf8)))
    }

    /// Data that nobody signed may hold anything: it is not shown at all, and if it were, it would stop no program.
    @Test func dataThatWasChangedStopsNothing() throws {
        var report = try SampleEvents(clusters: 2, days: 8).report()
        let proven = try Proven(report)
        for index in report.clusters.indices {
            for day in report.clusters[index].days.indices {
                report.clusters[index].days[day].keptBytes = .max
                report.clusters[index].days[day].kept = .max
                report.clusters[index].days[day].worst = .max
                report.clusters[index].days[day].late = .max
            }
            report.clusters[index].backups = .max
            report.clusters[index].failed = .min
            report.clusters[index].objectives = [.init(from: report.since, seconds: .max)]
        }
        report.clusters[1].days = []
        report.backups.leftOut = .max
        report.refusals.leftOut = .max
        report.failures.leftOut = .max
        report.drills.rows[0].milliseconds = .max
        report.drills.rows[1].milliseconds = .min
        let tampered = try SignedReport(bytes: try report.canonical(), envelope: proven.signed.envelope)
        for format in ReportFormat.allCases where format != .csv {
            let bytes = try format.render(tampered)
            let file = try ReportFile(bytes)
            let check = try ReportCheck(file, proven.statement, proven.proof, remade: proven.signed.bytes)
            #expect(check.findings.first { $0.check == "data" }?.isGood == false)
            let page = check.findings.first { $0.check == "page" }
            #expect(page != nil && page?.isGood == nil, "\(format): it was rendered")
        }
        #expect(try !ReportFormat.csv.render(tampered).isEmpty)
    }

    @Test func theFirstDifferenceIsNamed() throws {
        let proven = try Proven(try SampleEvents(clusters: 2, days: 30).report())
        func words(_ bytes: [UInt8], _ proof: ReportProof? = nil, remade: [UInt8]? = nil) throws -> [String] {
            let file = try ReportFile(bytes)
            let check = try ReportCheck(
                file, try file.envelope.reportStatement(), proof ?? proven.proof,
                remade: remade ?? proven.signed.bytes)
            return check.findings.filter { $0.isGood != true }.map { "\($0.check): \($0.words)" }
        }
        // What is seen is another than what was signed.
        let html = try ReportFormat.html.render(proven.signed)
        let edited = String(decoding: html, as: UTF8.self).replacing(
            "etcdctl: context deadline exceeded</td>", with: "no failure at all</td>")
        let page = try words(Array(edited.utf8))
        #expect(page.count == 1 && page[0].hasPrefix("page: the file was changed: line "))
        #expect(page[0].contains("no failure at all") && page[0].contains("etcdctl: context"))
        // What was signed is another than what the events say.
        var other = proven.signed.report
        other.clusters[1].days[3].failed += 1
        let events = try words(html, remade: try other.canonical())
        #expect(events.count == 1 && events[0].contains("clusters[cluster-2].days[2026-09-03].failed"), "\(events)")
        // The chain is another.
        var proof = proven.proof
        proof.hash = String(repeating: "1", count: 64)
        #expect(try words(html, proof, remade: []).map { $0.prefix { $0 != ":" } } == ["chain", "events"])
        proof = proven.proof
        proof.making = nil
        #expect(try words(html, proof).map { $0.prefix { $0 != ":" } } == ["record"])
        proof = proven.proof
        proof.key = try PrivateKey.generateEd25519().rawPublicKey().base64
        #expect(try words(html, proof).first?.contains("it names the key") == true)
    }

    /// An upgrade changes no report that is there: only its writer's name is another than today's.
    @Test(arguments: ReportFormat.allCases) func oneOfAnotherVersionThatLooksTheSameIsGood(
        _ format: ReportFormat
    ) throws {
        var report = try SampleEvents(clusters: 1, days: 3).report()
        report.version = "0.0.9"
        let proven = try Proven(report)
        let text = String(decoding: try format.render(proven.signed), as: UTF8.self)
        let older = text.replacing("written by fleetctl \(FleetVersion.current)", with: "written by fleetctl 0.0.9")
        #expect(format == .json || older != text)
        let file = try ReportFile(Array(older.utf8))
        let check = try ReportCheck(file, proven.statement, proven.proof, remade: proven.signed.bytes)
        #expect(check.isGood, "\(check.findings.filter { $0.isGood != true })")
    }

    /// Another program may show and make reports in another way: that is no forgery, and no proof either.
    @Test func anotherVersionIsSaid() throws {
        var report = try SampleEvents(clusters: 1, days: 3).report()
        report.version = "0.0.9"
        let proven = try Proven(report)
        var bytes = try ReportFormat.html.render(proven.signed)
        bytes = Array(
            String(decoding: bytes, as: UTF8.self).replacing("<h1>", with: "<h1 class=\"old\">")
                .replacing("written by fleetctl \(FleetVersion.current)", with: "written by fleetctl 0.0.9").utf8)
        var today = report
        today.clusters[0].deleted += 1
        let file = try ReportFile(bytes)
        let check = try ReportCheck(
            file, try file.envelope.reportStatement(), proven.proof, remade: try today.canonical())
        let unsure = check.findings.filter { $0.isGood != true }
        #expect(
            unsure.map(\.check) == ["page", "events"]
                && unsure.allSatisfy { $0.isGood == nil && $0.words.contains("0.0.9") })
        #expect(!check.isGood)
    }
}

extension String {
    fileprivate func components(of separator: String) -> [Substring] {
        split(separator: separator, omittingEmptySubsequences: false)
    }
}

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

/// `audit verify --report FILE`.
enum AuditVerifyReport {
    static func run(_ path: String, _ call: Invocation) async throws(FleetError) -> ExitStatus {
        let bytes = try FileSystem.read(path, limit: ReportStream.limit)
        let file: ReportFile
        let statement: ReportStatement
        do throws(FleetError) {
            file = try ReportFile(bytes)
            statement = try file.envelope.reportStatement()
        } catch {
            // Somebody may have damaged it on purpose: that is what was asked, and no reason to be silent.
            guard error.code == .malformed else { throw error }
            return try tell([.init(check: "file", isGood: false, words: error.message)], path, nil, call)
        }
        let control = try await Coordinator.control(call)
        let (remade, last): ([UInt8], [UInt8])
        do throws(FleetError) {
            let stream = try await control.connected().open(
                ControlMethod.proveReport, try JSON.encode(file.envelope), ends: true)
            (remade, last) = try await ReportStream.receive(stream)
        } catch {
            guard error.code == .badSignature else { throw error }
            return try tell([.init(check: "signature", isGood: false, words: error.message)], path, statement, call)
        }
        let proof = try JSON.decode(ReportProof.self, from: last)
        let check = try ReportCheck(file, statement, proof, remade: remade)
        return try tell(check.findings, path, statement, call)
    }

    private struct Verdict: Codable {
        var file: String
        var verified: Bool
        var checks: [ReportCheck.Finding]
        var statement: ReportStatement?
    }

    private static func tell(
        _ findings: [ReportCheck.Finding], _ path: String, _ statement: ReportStatement?, _ call: Invocation
    ) throws(FleetError) -> ExitStatus {
        let isGood = findings.allSatisfy { $0.isGood == true }
        let status: ExitStatus = isGood ? .success : .findings
        if Output.isJSON(call) {
            try Output.json(Verdict(file: path, verified: isGood, checks: findings, statement: statement), call)
            return status
        }
        let terminal = call.terminal
        for finding in findings {
            let mark =
                switch finding.isGood {
                case true: terminal.green("ok     ")
                case false: terminal.red("WRONG  ")
                case nil: terminal.yellow("unknown")
                }
            let name = finding.check + String(repeating: " ", count: max(0, 12 - finding.check.count))
            terminal.print("\(mark)  \(name) \(Terminal.clean(finding.words))")
        }
        terminal.print("")
        let name = Terminal.clean(path)
        if isGood, let statement {
            terminal.print(
                "\(terminal.green("VERIFIED")): \(name) is what the coordinator made at \(statement.made), and the audit chain still "
                    + "says the same")
        } else if findings.contains(where: { $0.isGood == false }) {
            terminal.print(
                "\(terminal.red("NOT VERIFIED")): \(name) must not be relied upon; the first WRONG line says why")
        } else if findings.contains(where: { $0.check == "page" && $0.isGood == nil }) {
            terminal.print(
                "\(terminal.yellow("NOT PROVEN")): what the page SHOWS was not checked; rely only on the embedded data of \(name), "
                    + "where it has any")
        } else {
            terminal.print(
                "\(terminal.yellow("NOT PROVEN")): nothing speaks against \(name), but not all could be checked")
        }
        return status
    }
}

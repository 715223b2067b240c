internal import FleetProtocol
internal import FleetReactor
internal import FleetSystem

/// Whether a node comes to the coordinator at all, which a firewall is there to prevent: asked before anything is changed.
enum NodeReach {
    /// What the agent will dial, tried from the node. It says one line, `way=open`, `way=untested` where the node has nothing to try
    /// it with, or `way=closed` and why.
    static func script(_ host: String, _ port: UInt16) -> String {
        NodeScript.beginning + #"""
            if ! command -v bash >/dev/null || ! command -v timeout >/dev/null; then echo way=untested; exit 0; fi
            host=\#(NodeScript.quoted(host))
            # One of several may be shut, and the agent tries the next.
            addresses=$(getent ahosts "$host" 2>/dev/null | cut -d ' ' -f 1 | sort -u | head -n 4)
            for address in ${addresses:-"$host"}; do
                said=$(timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/$2"' way "$address" \#(port) 2>&1 </dev/null)
                status=$?
                if [ $status = 0 ]; then break; fi
            done
            case $status:$said in
            0:*) echo way=open ;;
            124:*) echo "way=closed no answer within 10 s" ;;
            *"not enabled"* | *"/dev/tcp/"*"No such file"*) echo way=untested ;;
            *) echo "way=closed $(printf '%s' "$said" | head -n 1 | sed 's/.*: //')" ;;
            esac

            """#
    }

    /// nil: it is open, or not known, and then the enrolment finds out.
    static func obstacle(_ said: String, from node: String, to address: String) -> FleetError? {
        guard let line = said.split(whereSeparator: \.isNewline).last(where: { $0.hasPrefix("way=closed") }) else {
            return nil
        }
        let reason = NodeWords.last(Array(line.dropFirst("way=closed ".count).utf8), lines: 1).prefix(200)
        return FleetError(
            .unreachable, "\(node) can't reach the coordinator at \(address)\(reason.isEmpty ? "" : ": \(reason)")",
            hint:
                "open the way from that host to \(address) by TCP (firewall, route, name), then run the same again; nothing was changed",
            retryable: true)
    }
}

extension SecureShell {
    /// - Throws: `unreachable`.
    func checkWay(to address: String, node: String) async throws(FleetError) {
        guard case .tcp(let host, let port) = try? Address(address) else { return }
        let outcome = try await run(NodeReach.script(host, port), deadline: .seconds(60))
        if let obstacle = NodeReach.obstacle(outcome.outputText, from: node, to: address) { throw obstacle }
    }
}

import FleetSystem
import Testing

/// Alerts as they arrive, on a real node, under the coordinator's own unit.
@Suite(.serialized, .enabled(if: Lab.isAvailable), .timeLimit(.minutes(20)))
struct AlertDeliveryTests {
    private struct Message: Decodable {
        var state: String
        var alert: String
        var cluster: String?
        var text: String
    }

    /// Keeps the header and body of each, and answers with what is in the file `answer`.
    private static let receiver = """
        #!/bin/sh
        body=$(head -c "$CONTENT_LENGTH")
        sum=$(printf '%s.%s' "$(echo "$HTTP_X_FLEET_SIGNATURE" | sed 's/t=\\([0-9]*\\),.*/\\1/')" "$body" | \
        openssl dgst -sha256 -hmac "$(cat /root/secret)" | sed 's/.*= //')
        echo "$HTTP_X_FLEET_SIGNATURE" | grep -q ",v1=$sum\\$" && echo "$body" >>/root/hooked || echo "$body" >>/root/forged
        printf 'Status: %s\\r\\n\\r\\n' "$(cat /root/answer)"
        """

    @Test func whoeverWantsToKnowIsToldOnce() async throws {
        try await LabFleet.with { fleet in
            let hub = "hub"
            func write(_ path: String, _ text: String) async throws {
                try await fleet.exec(
                    hub, "sh", "-c", "printf '%s\\n' \"$2\" >\"$1\"; chmod 755 \"$1\"", "sh", path, text)
            }
            try await fleet.exec(hub, "mkdir", "-p", "/root/www/cgi-bin", "/var/lib/fleet-coordinator/told")
            try await fleet.exec(hub, "chown", "fleet-coordinator", "/var/lib/fleet-coordinator/told")
            try await write("/root/www/cgi-bin/hook", Self.receiver)
            try await write("/root/answer", "200 OK")
            try await write(
                "/usr/local/bin/tell",
                "#!/bin/sh\ncat >>/var/lib/fleet-coordinator/told/all; echo >>/var/lib/fleet-coordinator/told/all")
            try await fleet.exec(
                hub, "systemd-run", "--quiet", "--unit=receiver", "busybox", "httpd", "-f", "-p", "127.0.0.1:9000",
                "-h", "/root/www")

            try await fleet.makeCluster("one", ["--kind", "external", "--layout", "debian"])
            try await fleet.fleetctl("backup", "one")
            #expect(try await fleet.tryFleetctl("alert", "list").errors.contains("nobody is told"))
            let refused = try await fleet.tryFleetctl("alert", "webhook", "pager", "http://127.0.0.1:9000/cgi-bin/hook")
            #expect(refused.status == 2 && refused.errors.contains("--http"), "\(refused)")
            let made = try await fleet.fleetctl(
                "alert", "webhook", "pager", "http://127.0.0.1:9000/cgi-bin/hook", "--http")
            try await write("/root/secret", made.output.trimmed)
            try await fleet.fleetctl("alert", "test", "pager")
            #expect(try await messages(fleet, "/root/hooked").map(\.state) == ["test"])
            let wrong = try await fleet.tryFleetctl("alert", "command", "log", "tell")
            #expect(wrong.status == 2 && wrong.errors.contains("absolute path"), "\(wrong)")
            try await fleet.fleetctl("alert", "command", "log", "/usr/local/bin/tell")
            try await fleet.fleetctl("alert", "test", "log")

            // etcd goes, and the next backup fails.
            try await fleet.exec("one", "systemctl", "stop", "etcd")
            let failed = try await fleet.tryFleetctl("backup", "one")
            #expect(failed.status == 1, "\(failed)")
            let expected = ["test", "firing"]
            for file in ["/root/hooked", "/var/lib/fleet-coordinator/told/all"] {
                try await fleet.eventually("\(file) tells of it") { try await states(fleet, file) == expected }
            }
            let told = try #require(try await messages(fleet, "/root/hooked").last)
            #expect(told.alert == "backup-failed" && told.cluster == "one" && told.text.contains("fleetctl job show"))

            // Whoever does not take it is told again, also by a coordinator that was killed in between, and only that.
            try await write("/root/answer", "503 Busy")
            try await fleet.exec("one", "systemctl", "start", "etcd")
            try await fleet.eventually("etcd is found again") {
                try await fleet.fleetctl("cluster", "show", "one").output.contains("does NOT run") == false
            }
            try await fleet.fleetctl("backup", "one")
            try await fleet.eventually("it is over for the one that answers", within: .seconds(150)) {
                try await states(fleet, "/var/lib/fleet-coordinator/told/all") == expected + ["over"]
            }
            try await fleet.eventually("status tells who is not reached") {
                let list = try await fleet.fleetctl("alert", "list").output
                return list.contains("503") && list.contains("127.0.0.1:9000") && !list.contains("cgi-bin")
            }
            try await fleet.killCoordinator()
            try await write("/root/answer", "200 OK")
            try await fleet.eventually("it is over for the other as well", within: .seconds(120)) {
                let last = try await states(fleet, "/root/hooked").last
                let list = try await fleet.fleetctl("alert", "list").output
                return last == "over" && !list.contains("503")
            }
            try await Task.sleep(for: .seconds(40))
            #expect(
                try await states(fleet, "/var/lib/fleet-coordinator/told/all") == expected + ["over"],
                "and nothing more")
            #expect(Set(try await states(fleet, "/root/hooked")) == ["test", "firing", "over"])

            // Whoever did not want it is told when a test is taken: it stands still.
            try await write("/root/answer", "400 Bad Request")
            try await fleet.exec("one", "systemctl", "stop", "etcd")
            #expect(try await fleet.tryFleetctl("backup", "one").status == 1)
            func list() async throws -> [String] {
                let lines = try await fleet.fleetctl("alert", "list").output.split(separator: "\n")
                return lines.filter { $0.hasPrefix("pager ") }.map(String.init)
            }
            try await fleet.eventually("it is refused again and again", within: .seconds(120)) {
                try await states(fleet, "/root/hooked").suffix(3) == Array(repeating: "firing", count: 3)
            }
            #expect(try await list().first?.contains("400") == true)
            try await write("/root/answer", "200 OK")
            try await fleet.fleetctl("alert", "test", "pager")
            try await fleet.eventually("it comes behind the test", within: .seconds(30)) {
                try await states(fleet, "/root/hooked").suffix(2) == ["test", "firing"]
            }
            try await fleet.eventually("nothing is missed any more", within: .seconds(30)) {
                try await list().first?.contains("400") == false
            }
            #expect(try await fleet.attempt("hub", "ls", "/root/forged").status != 0, "every signature was good")
            let log = try await fleet.exec(hub, "journalctl", "-u", "fleet-coordinator", "-o", "cat")
            #expect(log.contains("backup-failed") && !log.contains("cgi-bin") && !log.contains(made.output.trimmed))
        }
    }

    private func messages(_ fleet: LabFleet, _ file: String) async throws -> [Message] {
        let text = try await fleet.attempt("hub", "cat", file).output
        return try text.split(separator: "\n").map { try JSON.decode(Message.self, from: Array($0.utf8)) }
    }

    private func states(_ fleet: LabFleet, _ file: String) async throws -> [String] {
        try await messages(fleet, file).map(\.state)
    }
}

import FleetCommandLine
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl
@testable import FleetCoordinator

/// What is said where there is no cluster, and where there is none for whoever asks.
@Suite("No clusters", .timeLimit(.minutes(5))) struct NoClusterTests {
    @Test func whoMaySeeNoneIsNotToldToAddOne() async throws {
        let server = try await TestServer()
        let catalogue = server.catalogue
        for words in [["backup", "--all"], ["drill", "--all"]] {
            let said = await TestServer.fleetctl(words + ["--server", server.socket])
            #expect(said.status == .failure && said.err.contains("there are no clusters"), "\(said.err)")
            #expect(said.err.contains("fleetctl cluster add NAME"))
        }
        #expect(await server.fleetctl("status").out.hasPrefix("no clusters yet; add one"))
        #expect(await server.fleetctl("cluster", "list").err.contains("no clusters yet; add one"))

        _ = try await catalogue.addCluster("a", by: "root")
        let eve = try await server.login(
            "eve", as: OperatorAccess(role: .operator, clusters: try ClusterSelector("env=staging")))
        for words in [["backup", "--all"], ["drill", "--all"], ["cluster", "list"], ["status"]] {
            let said = await TestServer.fleetctl(words + eve)
            let text = said.out + said.err
            #expect(text.contains("cluster that you may see") && text.contains("fleetctl whoami"), "\(words): \(text)")
            #expect(!text.contains("cluster add"), "\(words): \(text)")
        }
        // Hers is found as soon as it is labelled.
        _ = try await catalogue.label(LabelRequest(cluster: "a", set: ["env": "staging"], remove: []), by: "root")
        #expect(await TestServer.fleetctl(["status"] + eve).out.contains("\na "))
        await server.stop()
    }

    @Test func aSelectorThatMatchesNothingIsNoted() async throws {
        let server = try await TestServer()
        _ = try await server.catalogue.addCluster("a", by: "root")
        let note = "note: no cluster is env=stagin now, and bob sees none until one is"
        let added = await server.fleetctl("operator", "add", "bob", "--role", "viewer", "--clusters", "env=stagin")
        #expect(added.status == .success && added.err.contains(note), "\(added.err)")
        let set = await server.fleetctl("operator", "set", "bob", "--clusters", "env=stagin,a")
        #expect(set.status == .success && !set.err.contains("note:"), "\(set.err)")
        let role = await server.fleetctl("operator", "set", "bob", "--role", "operator")
        #expect(role.status == .success && !role.err.contains("note:"))
        let all = await server.fleetctl("operator", "add", "carol", "--role", "viewer")
        #expect(all.status == .success && !all.err.contains("note:"))
        await server.stop()
    }
}

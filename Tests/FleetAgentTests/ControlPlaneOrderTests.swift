import FleetProtocol
import FleetSystem
import Glibc
import Testing

@testable import FleetAgent

/// The apiserver is back before those that watch it.
@Suite struct ControlPlaneOrderTests {
    /// Processes that show in /proc what a kubelet's containers would: each starts when its manifest is there.
    private struct Plane {
        var node: RestoreStepTests.Node
        let directory: String

        init(waitSeconds: Int) throws {
            node = try RestoreStepTests.Node(waitSeconds: waitSeconds)
            directory = node.tree.root + "/manifests"
            try FileSystem.makeDirectories(directory)
            let mark = "--mark=\(Randomness.token(8))"
            node.steps.work.controlPlane = ["kube-controller-manager", "kube-apiserver", "kube-scheduler"].map {
                .init(component: $0, file: "\(directory)/\($0).yaml", command: [$0, mark])
            }
            for manifest in node.steps.work.controlPlane {
                try FileSystem.writeDurably(manifest.file, manifest.component.utf8)
            }
            _ = try node.steps.perform(.stopControlPlane)
        }

        func isThere(_ component: String) -> Bool { FileSystem.exists("\(directory)/\(component).yaml") }
    }

    /// Nothing listens on the apiserver's port here, so it never becomes ready.
    @Test(arguments: [true, false]) func theApiserverComesFirst(_ forward: Bool) async throws {
        var plane = try Plane(waitSeconds: 3)
        plane.node.steps.work.wasHealthy = true
        plane.node.steps.work.controlPlane[1].probe = .init(isTLS: false, host: "127.0.0.1", port: 1, path: "/")
        let (steps, watched) = (plane.node.steps, plane)
        // On a thread of its own: on a busy machine the others' turn may be over before a test has its own.
        async let order = Blocking.run { () -> Bool in
            for _ in 0..<1000 {
                let isServing = watched.isThere("kube-apiserver")
                let others = ["kube-scheduler", "kube-controller-manager"].filter(watched.isThere)
                if isServing || !others.isEmpty { return isServing && others.isEmpty }
                usleep(20_000)
            }
            return false
        }
        async let returning = Blocking.run { () -> FleetError? in
            do throws(FleetError) {
                if forward { _ = try steps.perform(.startControlPlane) } else { _ = try steps.undo(.stopControlPlane) }
                return nil
            } catch { return error }
        }
        #expect(try await order)
        let error = try await returning
        #expect(error?.code == .notStarted && error?.message.contains("kube-apiserver") == true)
        // A node that waits for a person is not left with half of its control plane.
        #expect(plane.isThere("kube-scheduler") && plane.isThere("kube-controller-manager"))
        // And all of it again, as after a crash.
        await #expect(throws: FleetError.self) {
            try await onDisk { () throws(FleetError) in try steps.perform(.startControlPlane) }
        }
    }

    /// What is not ready yet is told of one of several, but a manifest that somebody wrote meanwhile needs a person.
    @Test func ofSeveralOnlyTheWaitIsForgiven() throws {
        var plane = try Plane(waitSeconds: 1)
        plane.node.steps.work.wasHealthy = true
        plane.node.steps.work.group = RestoreGroup(restore: "r", members: [])
        let file = plane.directory + "/kube-scheduler.yaml"
        try FileSystem.writeDurably(file, "by hand".utf8)
        let error = #expect(throws: FleetError.self) { try plane.node.steps.undo(.stopControlPlane) }
        #expect(error?.code == .changedMeanwhile)
        try FileSystem.remove(file)
        #expect(try plane.node.steps.undo(.stopControlPlane).unhealthy?.contains("kube-apiserver") == true)
    }

    /// There is no systemd here: that is told, and is no failure of a restore that serves.
    @Test func aKubeletThatCanNotBeRestartedIsTold() throws {
        let note = try RestoreStepTests.Node(waitSeconds: 1).steps.restartKubelet()
        #expect(note?.contains("by hand") == true)
    }

    /// Nobody who watches is told, where a node's tools can't bump, or nothing is bumped: everything that watches is named.
    @Test func whoHasToBeRestartedIsNamed() throws {
        var node = try RestoreStepTests.Node()
        node.steps.work.settleRevisions(nil)
        let external = try #require(node.steps.work.plan.revisions)
        #expect(external.contains("restart all clients of this etcd") && !external.contains("workers"))
        node.steps.work.controlPlane = [.init(component: "kube-apiserver", file: "/f", command: ["kube-apiserver"])]
        node.steps.work.settleRevisions(nil)
        let stacked = try #require(node.steps.work.plan.revisions)
        #expect(stacked.contains("watchers would see revisions go back"))
        #expect(
            stacked.contains("restart the kubelet on every node, workers too, and everything else that watches the"))
        #expect(node.steps.work.description(of: .startControlPlane).contains("restart the kubelet"))
    }
}

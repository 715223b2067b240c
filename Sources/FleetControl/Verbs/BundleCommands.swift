internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

private let nodeOption = Command.Option("node", value: "NODE", "only this node's")
private let snapshotArgument = Command.Argument("SNAPSHOT", "its id, or a unique beginning of it")

let bundleCommand = Command(
    "bundle", "The configuration of nodes that is kept with snapshots",
    discussion: """
        What a snapshot of etcd's data does not bring back: static pods' manifests, /etc/kubernetes/pki, kubeconfigs, the
        encryption-at-rest configuration and other files that flags of the control plane name, the kubelet's configuration,
        and etcd's own with its certificates and keys. Every agent of a cluster sends its node's, encrypted on the way and in
        the store, when it has changed; a snapshot refers to the newest of each node. What is the same is kept once, and goes
        with the last snapshot that refers to it ('fleetctl store gc'). Where etcd is on hosts of its own, one control plane
        needs an agent too ('fleetctl agent install CLUSTER --ssh root@NODE'): it finds no etcd there, and sends the rest.
        """,
    subcommands: [
        Command(
            "show", "What of the nodes' configuration is kept with a snapshot",
            arguments: [snapshotArgument], options: [nodeOption, Output.option],
            examples: [
                .init("fleetctl bundle show 20261124-0655 --node cp1", "files of one node, and when certificates end")
            ],
            exitStatuses: [(.partialFailure, "none is kept with it, or some of it can't be read")]
        ) { call in
            let control = try await Coordinator.control(call)
            let reply = try await show(call.argument("SNAPSHOT")!, call.value("node"), control)
            if Output.isJSON(call) { try Output.json(reply, call) } else { print(reply, call.terminal) }
            return reply.nodes.isEmpty || reply.nodes.contains { $0.manifest == nil } ? .partialFailure : .success
        },
        Command(
            "export", "Write the nodes' configuration that is kept with a snapshot to files",
            discussion: """
                Makes DIR/NODE/etc/... for each node, with the permissions that each file had, where nobody else gets in, and
                DIR/NODE_files.json, which tells what owner and group each file had, and which links there were. The cluster's
                authorities are in it: whoever has it can be anybody in that cluster, so it takes a restorer. The audit log keeps that
                you had it written; remove it when it has done its work.
                """,
            arguments: [snapshotArgument],
            options: [
                .init("to", value: "DIR", "where to; a directory that does not exist yet, or is empty"),
                nodeOption,
            ],
            examples: [
                .init("fleetctl bundle export 20261124-0655 --to /root/cp --node cp1", "to make cp1 anew from it")
            ],
            exitStatuses: [(.partialFailure, "that of a node can't be read or written; the others were written")]
        ) { call in
            let control = try await Coordinator.control(call)
            guard let directory = call.value("to") else {
                throw FleetError(.usage, "where to is not said", hint: "give a new directory: --to DIR")
            }
            let reply = try await show(call.argument("SNAPSHOT")!, call.value("node"), control)
            guard !reply.nodes.isEmpty else {
                throw FleetError(
                    .notFound, "no configuration is kept with snapshot \(reply.snapshot)",
                    hint: "of a later one: fleetctl snapshot list \(reply.cluster)")
            }
            try await onDisk { () throws(FleetError) in try BundleTree.prepare(directory) }
            var (secrets, unreadable): ([String], Int) = ([], 0)
            for node in reply.nodes {
                if let problem = node.problem {
                    // The others are of use without it.
                    unreadable += 1
                    call.terminal.note(
                        "that of \(Terminal.clean(node.reference.node)) can't be read: \(Terminal.clean(problem.message))"
                    )
                    continue
                }
                let bundle: Bundle
                do throws(FleetError) {
                    bundle = try await fetch(node.reference, of: reply.snapshot, control)
                    let whole = bundle
                    try await onDisk { () throws(FleetError) in
                        try BundleTree.write(whole, of: node.reference.node, to: directory)
                    }
                } catch {
                    // Who may not have one may have none, and needs no directory for it.
                    if error.code == .permissionDenied, secrets.isEmpty {
                        try await onDisk { () throws(FleetError) in
                            if try FileSystem.list(directory).isEmpty { try FileSystem.removeTree(directory) }
                        }
                        throw error
                    }
                    unreadable += 1
                    call.terminal.note(
                        "that of \(Terminal.clean(node.reference.node)) can't be written: \(Terminal.clean(error.message))"
                    )
                    continue
                }
                let manifest = bundle.manifest
                call.terminal.print(
                    "\(directory)/\(node.reference.node)  \(manifest.files.count) files, \(Human.bytes(Int64(manifest.bytes)))"
                )
                secrets += manifest.files.filter(\.holdsSecret).map { "\(directory)/\(node.reference.node)\($0.path)" }
            }
            for path in secrets { call.terminal.note("secret: \(Terminal.clean(path))") }
            call.terminal.note("when it has done its work: find \(directory) -type f -exec shred -u {} +")
            return unreadable == 0 ? .success : .partialFailure
        },
        switchCommand("off", "Keep no configuration of a cluster's nodes from now on", isOn: false),
        switchCommand("on", "Keep the configuration of a cluster's nodes again", isOn: true),
    ])

private func switchCommand(_ name: String, _ summary: String, isOn: Bool) -> Command {
    Command(
        name, summary,
        discussion: isOn
            ? "It is so unless somebody has turned it off. Agents send what they have within minutes."
            : """
            Agents send nothing of it any more; when certificates end they tell all the same. What is kept with snapshots stays
            until they are deleted.
            """,
        arguments: [.init("CLUSTER", "its name")],
        examples: [.init("fleetctl bundle \(name) cluster-a", isOn ? "from the next backup on" : "from now on")]
    ) { call in
        let control = try await Coordinator.control(call)
        let reply: BundleSwitchReply = try await control.call(
            ControlMethod.switchBundles, BundleSwitch(cluster: call.argument("CLUSTER")!, isOn: isOn))
        let terminal = call.terminal
        if isOn {
            terminal.print("the configuration of \(reply.cluster)'s nodes is kept; what there is comes within minutes")
        } else {
            terminal.print("the configuration of \(reply.cluster)'s nodes is not kept any more")
            if reply.snapshots > 0 {
                terminal.note(
                    "\(reply.snapshots) snapshots have one with them, which stays until they are deleted: fleetctl snapshot list "
                        + reply.cluster)
            }
        }
        return .success
    }
}

private func show(_ snapshot: String, _ node: String?, _ control: Control) async throws(FleetError) -> BundleReply {
    try await control.ask(ControlMethod.showBundle, BundleRequest(snapshot: snapshot, node: node))
}

/// What comes is the coordinator's word for what an agent sent: it is checked before anything of it is written.
private func fetch(
    _ reference: NodeBundle, of snapshot: String, _ control: Control
) async throws(FleetError) -> Bundle {
    let request = BundleRequest(snapshot: snapshot, node: reference.node)
    let stream = try await control.connected().open(
        ControlMethod.exportBundle, try JSON.encode(request), ends: true)
    var bytes: [UInt8] = []
    while true {
        switch try await stream.receive() {
        case .data(let piece):
            guard bytes.count + piece.count <= BundleLimits.encoded else {
                throw FleetError(.malformed, "more bytes than a bundle can have")
            }
            bytes += piece
        case .end(let body):
            guard try JSON.decode(StreamDigest.self, from: body) == StreamDigest(of: bytes) else {
                throw FleetError(.malformed, "what arrived is not the bundle that is stored", hint: "try again")
            }
            return try Bundle.decode(bytes)
        case .message: throw FleetError(.protocolViolation, "a message among the bytes of a bundle")
        }
    }
}

private func print(_ reply: BundleReply, _ terminal: Terminal) {
    terminal.print("snapshot  \(reply.snapshot) of \(reply.cluster), saved \(reply.savedAt.short)")
    if reply.nodes.isEmpty {
        terminal.note(
            reply.isOn
                ? "no configuration of nodes is kept with it; later ones have it when agents are new enough"
                : "no configuration of nodes is kept with it; 'fleetctl bundle on \(reply.cluster)' keeps it with later ones"
        )
    }
    if let kept = reply.decryption.flatMap(EncryptionWords.kept) {
        let isKept = reply.decryption?.isKept == true
        terminal.print("decrypts  \(isKept ? Terminal.clean(kept) : terminal.red(Terminal.clean(kept)))")
    }
    let kinds = Set(reply.nodes.flatMap { $0.manifest?.files.map(\.kind) ?? [] })
    // An etcd that no Kubernetes keeps its data in has no control plane.
    if reply.holdsKubernetes != false, !reply.nodes.isEmpty, kinds.isDisjoint(with: ["manifest", "pki"]),
        reply.nodes.allSatisfy({ $0.manifest != nil })
    {
        terminal.note(
            "no control plane's configuration is among it: put an agent on one too: fleetctl agent install \(reply.cluster) "
                + "--ssh root@NODE")
    }
    for node in reply.nodes {
        let reference = node.reference
        terminal.print("")
        terminal.print(
            "node      \(Terminal.clean(reference.node)), as it was from \(reference.collected.short) to "
                + "\(reference.confirmed.short) at least")
        guard let manifest = node.manifest else {
            terminal.print("          \(terminal.red("can't be read")): \(Terminal.clean(node.problem?.message ?? ""))")
            continue
        }
        table(manifest).print(terminal)
        for file in manifest.files {
            guard let keys = file.encryptionKeys else { continue }
            terminal.print(
                "decrypts  \(Terminal.clean(file.path)): \(Terminal.clean(EncryptionKeyName.words(keys)))")
        }
        for link in manifest.links {
            terminal.print("link      \(Terminal.clean(link.path)) -> \(Terminal.clean(link.target))")
        }
        for one in manifest.leftOut {
            terminal.print("left out  \(Terminal.clean(one.path)): \(Terminal.clean(one.reason))")
        }
        if manifest.moreLeftOut > 0 { terminal.print("left out  \(manifest.moreLeftOut) more") }
    }
}

private func table(_ manifest: BundleManifest) -> Table {
    var table = Table([
        ("FILE", .left), ("KIND", .left), ("SIZE", .right), ("MODE", .left), ("SECRET", .left), ("ENDS", .left),
    ])
    for file in manifest.files {
        let ends = (file.certificates ?? []).map(\.notAfter).min()
        let mode = String(file.mode & 0o7777, radix: 8)
        table.add([
            Terminal.clean(file.path), Terminal.clean(file.kind), "\(file.size)",
            String(repeating: "0", count: max(0, 4 - mode.count)) + mode, file.holdsSecret ? "secret" : "",
            ends?.short ?? "",
        ])
    }
    return table
}

internal import FleetCommandLine
internal import FleetCrypto
internal import FleetProtocol
internal import FleetSystem

let coordinatorCommand = Command(
    "coordinator", "The coordinator's own disaster",
    subcommands: [
        Command(
            "backup", "Write all that the coordinator knows to one encrypted file",
            discussion: """
                Its settings, its keys and its catalogue, as they are now; the snapshots are in its store. The recovery key opens
                it ('fleet-coordinator restore'), as it was printed last before this. The coordinator puts such a copy into its
                own store every six hours, too: with a copy of the store on another machine, that is enough.
                """,
            options: [
                .init("file", short: "f", value: "PATH", "where to write it (default: coordinator-TIME.copy here)")
            ],
            examples: [.init("fleetctl coordinator backup -f /mnt/safe/fleet.copy", "then try it: RECOVERY.md")]
        ) { call in
            let path = call.value("file") ?? "coordinator-\(Timestamp.now().compact).copy"
            guard !FileSystem.exists(path) else {
                throw FleetError(
                    .alreadyExists, "\(path) exists already",
                    hint: "name another file with --file, or move this one away")
            }
            let control = try await Coordinator.control(call)
            let file = try await onDisk { () throws(FleetError) in try HashedFile(for: path) }
            let stream = try await control.connected().open(
                ControlMethod.backUpCoordinator, try JSON.encode(ListRequest()), ends: true)
            receiving: while true {
                switch try await stream.receive() {
                case .data(let bytes): try await onDisk { () throws(FleetError) in try file.write(bytes) }
                case .end(let body):
                    guard
                        try JSON.decode(StreamDigest.self, from: body)
                            == StreamDigest(length: file.length, sha256: file.digest)
                    else { throw FleetError(.malformed, "what arrived is not what was sent", hint: "try again") }
                    break receiving
                case .message: throw FleetError(.protocolViolation, "a message among the bytes of a copy")
                }
            }
            try await onDisk { () throws(FleetError) in try file.publish() }
            call.terminal.print("\(path) written, \(Human.bytes(file.length)); the recovery key opens it")
            return .success
        },
        Command(
            "copies", "List the coordinator's copies of itself in its store", options: [Output.option],
            examples: [.init("fleetctl coordinator copies", "eight are kept")]
        ) { call in
            let control = try await Coordinator.control(call)
            let copies: [CoordinatorCopy] = try await control.ask(ControlMethod.listCoordinatorCopies, ListRequest())
            if Output.isJSON(call) {
                try Output.json(copies, call)
                return .success
            }
            var table = Table(["COPY", "MADE", "SIZE"])
            for copy in copies { table.add([copy.name, copy.made.short, Human.bytes(copy.size)]) }
            if table.isEmpty { call.terminal.note("there are none yet") } else { table.print(call.terminal) }
            return .success
        },
    ])

internal import FleetCommandLine
internal import FleetProtocol
internal import FleetSystem

extension InstallPlan.Step {
    /// "install fleet-agent 1.2", behind "would"; or "installed fleet-agent 1.2".
    func words(done: Bool, _ wish: InstallWish, node: String) -> String {
        let size = Human.bytes(Int64(wish.source.bytes.count))
        switch self {
        case .package(let version, nil, _):
            return
                "\(done ? "installed" : "copy \(wish.source.name) (\(size)) and install") the package fleet-agent \(version)"
        case .package(let version, let from?, let downgrades):
            let verb = downgrades ? (done ? "replaced" : "replace") : (done ? "upgraded" : "upgrade")
            return "\(verb) the package fleet-agent \(Terminal.clean(from)) \(downgrades ? "by" : "to") \(version)"
        case .program(let version, let from):
            let what = "\(NodeScript.program)\(version.map { " \($0)" } ?? "")"
            guard let from else { return "\(done ? "installed" : "copy \(wish.source.name) (\(size)) to") \(what)" }
            return "\(done ? "replaced" : "replace") \(what), which was \(Terminal.clean(from))"
        case .leaveUpgrade(let version):
            return
                "\(done ? "went" : "go") back to the installed program from fleet-agent \(Terminal.clean(version)), which an upgrade has brought"
        case .unit(false): return "\(done ? "installed" : "install") \(NodeScript.unit)"
        case .unit(true):
            return
                "\(done ? "replaced" : "replace") \(NodeScript.unit), the former one is \(FileSystem.name(of: NodeScript.unit)).replaced beside it"
        case .removeHandInstalled(let keepsUnit, _, _):
            return "\(done ? "removed" : "remove") what was installed by hand and would go before the package"
                + (keepsUnit ? "; its unit, which is another, is \(NodeScript.unit).replaced" : "")
        case .enrol(nil):
            return "\(done ? "enrolled" : "enrol") it as \(wish.cluster)/\(node), to dial \(wish.terms.address)"
        case .enrol(let why?): return "\(done ? "enrolled" : "enrol") it anew as \(wish.cluster)/\(node): \(why)"
        case .enable: return "\(done ? "enabled" : "enable") fleet-agent.service, so that it starts with the node"
        case .start: return "\(done ? "started" : "start") it"
        case .restart(let why): return "\(done ? "restarted" : "restart") it: \(why)"
        }
    }
}

extension UninstallPlan {
    /// Lines behind "would", or of what was done.
    func words(done: Bool, cluster: String, node: String) -> [String] {
        var lines: [String] = []
        if removesPackage || removesByHand {
            lines.append("\(done ? "stopped and disabled" : "stop and disable") fleet-agent.service")
        }
        if removesPackage { lines.append("\(done ? "removed" : "remove") the package fleet-agent") }
        if !files.isEmpty { lines.append("\(done ? "removed" : "remove") \(files.joined(separator: " and "))") }
        if keepsUnit {
            lines.append(
                "\(done ? "moved" : "move") \(NodeScript.unit), which was edited, to \(NodeScript.unit).replaced")
        }
        if removesUpgrades {
            lines.append(
                "\(done ? "removed" : "remove") \(NodeScript.upgrades), with the programs that upgrades have brought")
        }
        if purges {
            lines.append(
                "\(done ? "removed" : "remove") \(NodeScript.state), with key and journals, and the unit's own settings"
            )
        }
        if revokes { lines.append("\(done ? "took" : "take") the right of \(cluster)/\(node) to connect") }
        return lines
    }
}

/// What the coordinator was told of a node by its agent, in one line.
enum Discovered {
    static func words(_ agent: AgentRecord) -> (line: String, hint: String?) {
        if let etcd = agent.instance {
            let runs = etcd.pid == nil ? ", which does not run" : ""
            return (
                "etcd \(etcd.version ?? "of unknown version")\(runs) (\(etcd.topology.rawValue)), data in \(etcd.dataDir)",
                etcd.restoreProblem.map {
                    "a restore would be refused: \($0.message)\($0.hint.map { "; \($0)" } ?? "")"
                }
            )
        }
        if agent.isVerifier {
            return (
                "no etcd runs here, so it is a verifier, for drills of etcd \(agent.drillVersions?.joined(separator: ", ") ?? "")",
                nil
            )
        }
        if agent.isControlPlane {
            return (
                "a control plane whose etcd is on other hosts: its configuration is kept with the cluster's snapshots",
                nil
            )
        }
        if agent.discoveryError?.code == "no-etcd" {
            return (
                "it found no etcd here",
                "right for a verifier, which needs etcd, etcdctl and etcdutl installed; where an etcd should be, see on the node: fleet-agent discover"
            )
        }
        guard let error = agent.discoveryError else { return ("what it found is not known yet", nil) }
        return ("what it found of etcd is not clear: \(error.message) (\(error.code))", error.hint)
    }
}

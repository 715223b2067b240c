internal import FleetProtocol
internal import FleetSystem

/// What somebody asked for.
struct InstallWish: Sendable {
    var cluster: String
    /// nil: the host's own name.
    var name: String?
    /// Also what is older than what is there.
    var force = false
    var source: AgentSource
    var terms: EnrolmentTerms
    /// All of the fleet's.
    var agents: [AgentRecord]
    /// What hosts before this one in the same run are, by the node's name.
    var taken: [String: String] = [:]
}

/// What has to be done on a node, in this order; none where all is as it should be.
struct InstallPlan: Sendable, Equatable {
    enum Step: Sendable, Equatable {
        /// `from`: the version that it replaces.
        case package(version: String, from: String?, downgrades: Bool)
        case program(version: String?, from: String?)
        /// The installed program is what was asked for, and does not run: an upgrade's does, of this version.
        case leaveUpgrade(version: String)
        /// The one before is kept beside it.
        case unit(replaces: Bool)
        /// What was installed by hand, and would go before the package's.
        case removeHandInstalled(keepsUnit: Bool, enables: Bool, restarts: Bool)
        /// `again`: why the identity that it has does not do.
        case enrol(again: String?)
        case enable
        case start
        case restart(why: String)
    }

    /// Its name in the fleet.
    var node: String
    /// The program that enrols.
    var program: String
    var steps: [Step] = []
    /// What the person should know all the same.
    var notes: [String] = []

    /// - Throws: what speaks against it, before anything was changed.
    static func make(_ look: NodeLook, _ wish: InstallWish) throws(FleetError) -> InstallPlan {
        try checkSystem(look)
        let name = wish.name ?? look.identity?.node ?? look.defaultName
        guard Names.isValid(name) else {
            throw FleetError(
                .malformed, "the node calls itself \(Names.quote(look.host)), which is no name for an agent",
                hint: "give it one with --name")
        }
        if let other = wish.taken[name] {
            throw FleetError(
                .alreadyExists, "it is \(name), and so is \(other), which was named before it",
                hint:
                    "name each node once; two that have one name, or were cloned with one identity, can't both be that agent: give one of them a name with --name"
            )
        }
        var plan = InstallPlan(node: name, program: NodeScript.program)
        let known = wish.agents.first { $0.cluster == wish.cluster && $0.node == name }
        let enrolment = try enrolment(look, wish, name, known)
        var replaces = false
        switch wish.source.kind {
        case .package: replaces = try plan.addPackage(look, wish)
        case .program(let machine, let version): replaces = try plan.addProgram(look, wish, machine, version)
        }
        if let enrolment { plan.steps.append(enrolment) }
        try plan.addService(look, replaces: replaces, enrols: enrolment != nil, isConnected: known?.connected == true)
        try plan.checkUnfinished(look, wish)
        return plan
    }

    /// As `ops/lib/oldest-systems` makes sure of it for the programs.
    static let oldestGlibc = "2.34"

    private static func checkSystem(_ look: NodeLook) throws(FleetError) {
        guard look.system == "Linux" else {
            throw FleetError(.unsuitable, "the node runs \(Names.quote(look.system))", hint: "agents run on Linux")
        }
        guard look.hasSystemd else {
            throw FleetError(
                .unsuitable, "systemd is not the node's init",
                hint: "agents are started by systemd; a container is no node: name the host it is on")
        }
        guard let glibc = look.glibc, let order = Versions.compare(glibc, oldestGlibc), order >= 0 else {
            throw FleetError(
                .unsuitable, "the node has \(look.glibc.map { "glibc \(Names.quote($0))" } ?? "no glibc")",
                hint: "agents need glibc \(oldestGlibc) or newer: RHEL 9, Ubuntu 22.04, Debian 12")
        }
    }

    // MARK: what is installed

    private mutating func addPackage(_ look: NodeLook, _ wish: InstallWish) throws(FleetError) -> Bool {
        program = NodeScript.packagedProgram
        guard let architecture = look.dpkg else {
            throw FleetError(
                .unsuitable, "the node has no dpkg, so no package for it can be installed",
                hint: "give the program instead: --program FILE")
        }
        guard let given = look.given, given.name == "fleet-agent" else {
            throw FleetError(
                .malformed,
                "\(wish.source.name) is \(look.given.map { "the package \(Names.quote($0.name))" } ?? "nothing that the node's dpkg can read")",
                hint: "give fleet-agent_VERSION_ARCHITECTURE.deb, as 'ops/package' makes it")
        }
        guard [architecture, "all"].contains(given.architecture) else {
            throw FleetError(
                .unsuitable,
                "\(wish.source.name) is for \(Names.quote(given.architecture)), the node is \(Names.quote(architecture))",
                hint: "give the package for the node's architecture")
        }
        let installed = look.package.flatMap { $0.isInstalled ? $0.version : nil }
        var installs = installed == nil || given.relation != .same
        if let installed, given.relation == .older, !wish.force {
            installs = false
            notes.append(
                "keeps fleet-agent \(installed), which is newer than \(given.version); --force installs the older one")
        }
        if let upgrade = look.upgrade {
            addUpgrade(upgrade, given.version, wish, hasPackage: installed != nil, &installs)
        }
        if installs {
            guard look.hasAptGet else {
                throw FleetError(
                    .unsuitable, "the node has dpkg and no apt-get, which would see to what the package needs",
                    hint:
                        "install it there by hand (dpkg --install, libyaml-0-2 first), then run the same again: it goes on from there"
                )
            }
            steps.append(
                .package(
                    version: given.version, from: installed, downgrades: installed != nil && given.relation == .older))
        }
        // The package's unit, as somebody has it here: 'systemctl edit --full' puts it there.
        let isEdited = look.hasForeignUnit && look.program == nil && look.package?.isPresent == true
        if isEdited, !wish.force {
            notes.append("keeps \(NodeScript.unit), which goes before the package's unit; --force moves it away")
        } else if look.isByHand {
            steps.append(
                .removeHandInstalled(
                    keepsUnit: look.hasForeignUnit, enables: look.enabled == "enabled",
                    restarts: look.isActive))
        }
        // The package restarts what runs by itself.
        return false
    }

    /// What an upgrade has brought goes before the installed program until another one is installed.
    private mutating func addUpgrade(
        _ upgrade: NodeLook.Upgrade, _ version: String, _ wish: InstallWish, hasPackage: Bool, _ installs: inout Bool
    ) {
        guard installs else {
            if wish.force {
                steps.append(.leaveUpgrade(version: upgrade.version))
            } else {
                notes.append("what runs is \(upgrade.words); --force goes back to the installed one")
            }
            return
        }
        // Without a package there is nothing that could stay.
        if hasPackage, !wish.force, let order = Versions.compare(upgrade.version, version), order > 0 {
            installs = false
            notes.append("keeps \(upgrade.words) and is newer than \(version); --force installs the older one")
        } else {
            notes.append("it goes before \(upgrade.words)")
        }
    }

    private mutating func addProgram(
        _ look: NodeLook, _ wish: InstallWish, _ machine: String, _ version: String?
    ) throws(FleetError) -> Bool {
        if let package = look.package, package.isPresent {
            throw FleetError(
                .alreadyExists, "the node has the package fleet-agent \(Names.quote(package.version))",
                hint: "give a package with --package; what is installed beside it by hand would go before it")
        }
        guard machine == look.machine else {
            throw FleetError(
                .unsuitable, "\(wish.source.name) is for \(machine), the node is \(Names.quote(look.machine))",
                hint: "give the program for the node's machine")
        }
        var isNew = look.program != wish.source.sha256
        // What runs is what counts: an upgrade's program goes before the installed one.
        let upgrade = look.upgrade
        let runs = upgrade?.version ?? look.programVersion
        let version = version ?? (isNew ? nil : look.programVersion)
        let isChosen = upgrade?.sha256 == wish.source.sha256
        if isNew, !isChosen, !wish.force, look.program != nil, let there = runs, version == nil {
            throw FleetError(
                .unsuitable,
                "\(wish.source.name) does not start here, so whether it is older than the node's \(Names.quote(there)) is not known",
                hint: "see 'fleet-agent --version' where it does; --force installs it whatever it is")
        }
        if isChosen {
            isNew = false
            notes.append(
                "it runs already: an upgrade has brought it, before the installed \(look.programVersion ?? "one")")
        } else if isNew || upgrade != nil, !wish.force, look.program != nil, let there = runs, let version,
            let order = Versions.compare(there, version), order > 0
        {
            notes.append(
                "keeps \(upgrade.map { $0.words + " and" } ?? "fleet-agent \(there), which") is newer than \(version); --force installs the older one"
            )
            return false
        } else if let upgrade, !isNew {
            steps.append(.leaveUpgrade(version: upgrade.version))
        }
        if look.unit != AgentUnit.sha256 {
            steps.append(.unit(replaces: look.unit != nil))
        }
        // Before the unit, which starts it.
        if isNew {
            if let upgrade { notes.append("it goes before \(upgrade.words)") }
            steps.insert(
                .program(version: version, from: look.program == nil ? nil : look.programVersion ?? "of another build"),
                at: 0)
        }
        return steps.contains { if case .leaveUpgrade = $0 { false } else { true } }
    }

    // MARK: the service

    private mutating func addService(
        _ look: NodeLook, replaces: Bool, enrols: Bool, isConnected: Bool
    ) throws(FleetError) {
        guard look.enabled != "masked" else {
            throw FleetError(
                .unsuitable, "fleet-agent.service is masked on the node",
                hint: "on the node: systemctl unmask fleet-agent")
        }
        if look.enabled != "enabled" { steps.append(.enable) }
        let restartsItself = steps.contains { step in
            switch step {
            case .package, .removeHandInstalled, .leaveUpgrade: true
            default: false
            }
        }
        if !look.isActive {
            steps.append(.start)
        } else if replaces || look.isOutdated && !restartsItself {
            steps.append(.restart(why: "what runs is what was there before"))
        } else if enrols {
            steps.append(.restart(why: "it takes up its new identity"))
        } else if !isConnected, steps.isEmpty {
            steps.append(.restart(why: "it runs and is not connected"))
        }
    }

    private func checkUnfinished(_ look: NodeLook, _ wish: InstallWish) throws(FleetError) {
        guard !look.unfinished.isEmpty else { return }
        // An agent that is off or gone is what the restore waits for, with the identity that it has.
        let harms = steps.contains { step in
            switch step {
            case .enrol: true
            case .enable, .start: false
            default: look.isActive
            }
        }
        guard harms else { return }
        throw FleetError.unfinished(look.unfinished, wish.cluster)
    }
}

extension NodeLook.Upgrade {
    fileprivate var words: String { "fleet-agent \(Names.quote(version)), which an upgrade has brought" }
}

extension FleetError.Code {
    /// The node is nothing that an agent can be installed on, as it is.
    static let unsuitable: Self = "unsuitable"
    /// It belongs to somebody else.
    static let otherFleet: Self = "other-fleet"
}

extension FleetError {
    static func unfinished(_ journals: [String], _ cluster: String) -> FleetError {
        FleetError(
            .busy,
            "the node is in the middle of a restore or of its member's replacement: \(Names.quote(journals.joined(separator: " ")))",
            hint:
                "let its agent bring it to its end, which 'fleetctl job list \(cluster)' shows, then run the same again",
            retryable: true)
    }
}

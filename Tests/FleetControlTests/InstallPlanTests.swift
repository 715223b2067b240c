import FleetCommandLine
import FleetProtocol
import FleetSystem
import Testing

@testable import FleetControl

/// From what a node is and what was asked for to what is done, by table.
@Suite struct InstallPlanTests {
    static let terms = EnrolmentTerms(address: "hub:7400", authority: "aa")
    static let deb = AgentSource(.package(head: []), "/x/fleet-agent_2_amd64.deb", [1])
    static let elf = AgentSource(.program(machine: "x86_64", version: "0.2.0"), "/x/fleet-agent", [1])

    static func node(_ change: (inout NodeLook) -> Void = { _ in }) -> NodeLook {
        var look = try! NodeLook(
            NodeLookTests.answer([
                "host=cp1", "system=Linux", "machine=x86_64", "glibc=glibc 2.36", "systemd=yes", "apt=yes",
                "dpkg=amd64", "given=fleet-agent 2 amd64", "enabled=disabled", "active=inactive",
            ]), marker: NodeLookTests.marker)
        change(&look)
        return look
    }

    /// With the package of version 2, enrolled, running.
    static func packaged(_ change: (inout NodeLook) -> Void = { _ in }) -> NodeLook {
        node { look in
            look.package = .init(status: "installed", version: "2")
            look.given?.relation = .same
            (look.enabled, look.isActive, look.hasState) = ("enabled", true, true)
            look.identity = .init(
                cluster: "a", node: "cp1", coordinator: "hub:7400", authorities: ["aa"], certificates: ["f"])
            change(&look)
        }
    }

    /// The same with the program `elf`.
    static func byHand(_ change: (inout NodeLook) -> Void = { _ in }) -> NodeLook {
        packaged { look in
            (look.package, look.given, look.dpkg, look.hasAptGet) = (nil, nil, nil, false)
            (look.program, look.programVersion, look.unit) = (elf.sha256, "0.2.0", AgentUnit.sha256)
            change(&look)
        }
    }

    static func agent(
        _ node: String = "cp1", cluster: String = "a", connected: Bool = true, revoked: Bool = false,
        ends: Duration = .seconds(3600)
    )
        -> AgentRecord
    {
        let now = Timestamp.now()
        return AgentRecord(
            cluster: cluster, node: node, enrolled: now, lastSeen: now, connected: connected, version: "0.2.0",
            instance: nil, discoveryError: nil,
            certificate: CertificateRecord(
                fingerprint: "f", serial: "1", issued: now, notAfter: now.adding(ends), revoked: revoked ? now : nil))
    }

    static func plan(
        _ look: NodeLook, _ source: AgentSource = deb, agents: [AgentRecord] = [], name: String? = nil,
        force: Bool = false, taken: [String: String] = [:]
    ) throws(FleetError) -> InstallPlan {
        try InstallPlan.make(
            look,
            InstallWish(
                cluster: "a", name: name, force: force, source: source, terms: terms, agents: agents,
                taken: taken))
    }

    static func installed(_ version: String, _ relation: NodeLook.Given.Relation) -> NodeLook {
        packaged { look in
            look.package?.version = version
            look.given?.relation = relation
        }
    }

    private func steps(
        _ look: NodeLook, _ source: AgentSource = deb, agents: [AgentRecord] = [agent()], name: String? = nil,
        force: Bool = false
    ) throws -> [InstallPlan.Step] {
        try Self.plan(look, source, agents: agents, name: name, force: force).steps
    }

    private func refusal(
        _ look: NodeLook, _ source: AgentSource = deb, agents: [AgentRecord] = [], name: String? = nil
    ) -> FleetError.Code? {
        do throws(FleetError) { _ = try Self.plan(look, source, agents: agents, name: name) } catch {
            #expect(error.hint != nil)
            return error.code
        }
        return nil
    }

    @Test func anEmptyNode() throws {
        #expect(
            try steps(Self.node(), agents: [])
                == [.package(version: "2", from: nil, downgrades: false), .enrol(again: nil), .enable, .start])
        let bare = Self.node { ($0.dpkg, $0.given, $0.hasAptGet) = (nil, nil, false) }
        #expect(
            try steps(bare, Self.elf, agents: [])
                == [.program(version: "0.2.0", from: nil), .unit(replaces: false), .enrol(again: nil), .enable, .start])
        #expect(try Self.plan(Self.node(), name: "other").node == "other")
        #expect(try Self.plan(Self.node()).program == "/usr/bin/fleet-agent")
        #expect(try Self.plan(bare, Self.elf).program == "/usr/local/bin/fleet-agent")
    }

    @Test func aSecondRunChangesNothing() throws {
        #expect(try steps(Self.packaged()) == [])
        #expect(try steps(Self.byHand(), Self.elf) == [])
        #expect(try steps(Self.packaged(), force: true) == [], "nor by force")
    }

    /// Where a run was cut off, the next one goes on.
    @Test func halfOfIt() throws {
        let unpacked = Self.packaged { $0.package?.status = "half-configured" }
        #expect(try steps(unpacked) == [.package(version: "2", from: nil, downgrades: false)])
        #expect(try steps(Self.packaged { $0.isActive = false }) == [.start])
        #expect(try steps(Self.packaged { ($0.isActive, $0.enabled) = (false, "disabled") }) == [.enable, .start])
        #expect(try steps(Self.packaged { $0.identity = nil }, agents: []).first == .enrol(again: nil))
        #expect(try steps(Self.byHand { $0.unit = nil }, Self.elf).first == .unit(replaces: false))
        let moved = try steps(Self.byHand { $0.isOutdated = true }, Self.elf)
        #expect(moved.count == 1 && moved.contains { if case .restart = $0 { true } else { false } })
        #expect(
            try steps(Self.packaged { ($0.isOutdated, $0.enabled) = (true, "disabled") })
                == [.enable, .restart(why: "what runs is what was there before")])
        let silent = try steps(Self.packaged(), agents: [Self.agent(connected: false)])
        #expect(silent.count == 1 && silent.contains { if case .restart = $0 { true } else { false } })
    }

    @Test func versions() throws {
        let older = Self.installed("1", .newer)
        #expect(try steps(older) == [.package(version: "2", from: "1", downgrades: false)])
        let newer = Self.installed("3", .older)
        #expect(try steps(newer) == [])
        #expect(try Self.plan(newer, agents: [Self.agent()]).notes.first?.contains("--force") == true)
        #expect(try steps(newer, force: true) == [.package(version: "2", from: "3", downgrades: true)])

        let old = Self.byHand { ($0.program, $0.programVersion) = ("x", "0.1.9") }
        #expect(try steps(old, Self.elf).first == .program(version: "0.2.0", from: "0.1.9"))
        let new = Self.byHand { ($0.program, $0.programVersion, $0.unit) = ("x", "0.10.0", "its own") }
        #expect(try steps(new, Self.elf) == [], "nor is its unit")
        #expect(try steps(new, Self.elf, force: true).first == .program(version: "0.2.0", from: "0.10.0"))
        let another = Self.byHand { $0.program = "x" }
        #expect(try steps(another, Self.elf).first == .program(version: "0.2.0", from: "0.2.0"), "another build")
        #expect(try steps(Self.byHand { ($0.program, $0.programVersion) = ("x", nil) }, Self.elf).count == 2)
        for (one, other, order) in [
            ("2.36", "2.34", 1), ("2.9", "2.34", -1), ("2.34", "2.34.0", 0), ("0.1.0~git", "0.1.0", 0), ("x", "1", nil),
            ("", "", nil), ("1..2", "1", nil),
        ] { #expect(Versions.compare(one, other) == order, "\(one) \(other)") }
    }

    /// What an upgrade has brought runs, and not what is installed.
    @Test func anUpgradedNode() throws {
        func upgraded(_ look: NodeLook, _ version: String, _ sha256: String = "u") -> NodeLook {
            var look = look
            look.upgrade = .init(version: version, sha256: sha256, installed: "p")
            return look
        }
        func notes(_ look: NodeLook, _ source: AgentSource = Self.deb) throws -> [String] {
            try Self.plan(look, source, agents: [Self.agent()]).notes
        }
        let back = InstallPlan.Step.leaveUpgrade(version: "0.3.0")

        // Installed is what was given, and runs not.
        let hand = upgraded(Self.byHand(), "0.3.0")
        #expect(try steps(hand, Self.elf) == [], "it is newer")
        #expect(
            try notes(hand, Self.elf).first?.contains(#""0.3.0", which an upgrade has brought and is newer than"#)
                == true)
        #expect(try steps(hand, Self.elf, force: true) == [back])
        let sibling = upgraded(Self.byHand(), "0.2.0")
        #expect(try steps(sibling, Self.elf) == [.leaveUpgrade(version: "0.2.0")], "another build of the same version")
        // It is older than what runs, and newer than what is installed.
        let between = upgraded(Self.byHand { ($0.program, $0.programVersion) = ("x", "0.1.9") }, "0.3.0")
        #expect(try steps(between, Self.elf) == [])
        #expect(try steps(between, Self.elf, force: true).first == .program(version: "0.2.0", from: "0.1.9"))
        // It is what runs.
        let same = upgraded(Self.byHand { ($0.program, $0.programVersion) = ("x", "0.1.9") }, "0.2.0", Self.elf.sha256)
        #expect(try steps(same, Self.elf) == [] && notes(same, Self.elf).first?.contains("it runs already") == true)
        #expect(try steps(same, Self.elf, force: true) == [])
        let elsewhere = AgentSource(.program(machine: "x86_64", version: nil), "/x/fleet-agent", [1])
        #expect(try steps(same, elsewhere) == [], "of whichever version")
        // It is newer than both.
        let old = upgraded(Self.byHand { ($0.program, $0.programVersion) = ("x", "0.1.0") }, "0.1.9")
        #expect(try steps(old, Self.elf).first == .program(version: "0.2.0", from: "0.1.0"))
        #expect(try notes(old, Self.elf) == [#"it goes before fleet-agent "0.1.9", which an upgrade has brought"#])

        let package = upgraded(Self.packaged(), "0.3.0")
        #expect(try steps(package) == [] && notes(package).first?.contains("--force goes back") == true)
        #expect(try steps(package, force: true) == [back])
        #expect(
            try steps(upgraded(Self.installed("1", .newer), "1.9")).first
                == .package(version: "2", from: "1", downgrades: false))
        #expect(try steps(upgraded(Self.installed("1", .newer), "3")) == [])
        let none = upgraded(
            Self.byHand { look in
                (look.dpkg, look.hasAptGet) = ("amd64", true)
                look.given = .init(name: "fleet-agent", version: "2", architecture: "amd64", relation: nil)
            }, "3")
        #expect(try steps(none).first == .package(version: "2", from: nil, downgrades: false), "else nothing is left")

        let busy = upgraded(Self.packaged { $0.unfinished = ["/j"] }, "0.3.0")
        #expect(throws: FleetError.self) { try Self.plan(busy, agents: [Self.agent()], force: true) }
    }

    @Test func fromByHandToThePackage() throws {
        let look = Self.byHand { look in
            (look.dpkg, look.hasAptGet) = ("amd64", true)
            look.given = .init(name: "fleet-agent", version: "2", architecture: "amd64", relation: nil)
        }
        #expect(
            try steps(look) == [
                .package(version: "2", from: nil, downgrades: false),
                .removeHandInstalled(keepsUnit: false, enables: true, restarts: true),
            ])
        var edited = look
        edited.unit = "edited"
        #expect(try steps(edited).contains(.removeHandInstalled(keepsUnit: true, enables: true, restarts: true)))
        #expect(refusal(Self.packaged(), Self.elf) == .alreadyExists)
    }

    /// 'systemctl edit --full' copies the package's unit there: it is somebody's will.
    @Test func anEditedUnitOfThePackage() throws {
        let edited = Self.packaged { $0.unit = "edited" }
        #expect(try steps(edited) == [])
        #expect(try Self.plan(edited, agents: [Self.agent()]).notes.first?.contains("--force") == true)
        let moves = InstallPlan.Step.removeHandInstalled(keepsUnit: true, enables: true, restarts: true)
        #expect(try steps(edited, force: true) == [moves])
        #expect(try steps(Self.packaged { ($0.unit, $0.program) = ("edited", "x") }) == [moves])
    }

    /// Whether it is older is known nowhere.
    @Test func aProgramForAnotherMachineThanThisOne() throws {
        let elf = AgentSource(.program(machine: "x86_64", version: nil), "/x/fleet-agent", [1])
        let other = Self.byHand { $0.program = "x" }
        #expect(refusal(other, elf, agents: [Self.agent()]) == .unsuitable)
        #expect(try steps(other, elf, force: true).first == .program(version: nil, from: "0.2.0"))
        #expect(try steps(Self.byHand(), elf) == [], "the very same")
        #expect(try steps(Self.byHand { ($0.program, $0.programVersion) = ("x", nil) }, elf).count == 2, "broken")
    }

    @Test func whoItIsNow() throws {
        func again(_ agents: [AgentRecord], _ look: NodeLook = Self.packaged()) throws -> Bool {
            let steps = try steps(look, agents: agents)
            guard case .enrol(again: .some) = steps.first, case .restart = steps.last else { return false }
            return steps.count == 2
        }
        #expect(try again([Self.agent(connected: false, revoked: true)]))
        #expect(try again([Self.agent(connected: false, ends: .seconds(-1))]))
        #expect(try again([]))
        #expect(try again([Self.agent(cluster: "b")]))
        // While the authority is changed, a node knows two.
        #expect(try steps(Self.packaged { $0.identity?.authorities = ["bb", "aa"] }) == [])
    }

    /// An earlier machine, or a copy of its disk, has the name of the one that lives.
    @Test func aNameAloneIsNoAgent() throws {
        let copy = Self.packaged { $0.identity?.certificates = ["e"] }
        #expect(refusal(copy, agents: [Self.agent()]) == .otherFleet)
        #expect(refusal(copy, agents: [Self.agent(connected: false)]) == .otherFleet)
        // Nobody else is that agent any more.
        #expect(try steps(copy, agents: [Self.agent(connected: false, revoked: true)]).count == 2)
        // Behind a renewal, the coordinator may know the former one still.
        #expect(try steps(Self.packaged { $0.identity?.certificates = ["f", "g"] }) == [])
        let twice = #expect(throws: FleetError.self) {
            try Self.plan(Self.packaged(), agents: [Self.agent()], taken: ["cp1": "root@first"])
        }
        #expect(twice?.code == .alreadyExists && twice?.message.contains("root@first") == true)
    }

    /// The coordinator has let it in, and the node never came to know.
    @Test func anEnrolmentWithoutItsAnswer() {
        var agent = Self.agent(connected: false)
        func hint(_ look: NodeLook) -> String {
            let error = #expect(throws: FleetError.self) { try Self.plan(look, agents: [agent]) }
            return error?.hint ?? ""
        }
        for look in [Self.node(), Self.packaged { $0.identity?.certificates = ["e"] }] {
            agent.lastSeen = agent.enrolled.adding(.seconds(3600))
            #expect(!hint(look).contains("answer"))
            for seen in [nil, agent.enrolled.adding(.seconds(-3600))] {
                agent.lastSeen = seen
                #expect(hint(look).contains("answer") && hint(look).contains("fleetctl agent revoke a cp1"))
            }
        }
    }

    /// A heartbeat of the connection from before is no sign of the program that was just put there.
    @Test func aHeartbeatIsNoNewConnection() {
        let before = Self.agent()
        var after = before
        after.connectedSince = before.enrolled
        let first = after.cameBack
        after.lastSeen = before.enrolled.adding(.seconds(3600))
        #expect(after.cameBack == first)
        after.connectedSince = before.enrolled.adding(.seconds(60))
        #expect(after.cameBack != first)
        after.connectedSince = nil
        #expect(after.cameBack == after.lastSeen, "an older coordinator says no more")
    }

    @Test func whatIsRefused() {
        #expect(refusal(Self.packaged { $0.identity?.cluster = "b" }) == .otherFleet)
        #expect(refusal(Self.packaged { $0.identity?.authorities = ["bb"] }) == .otherFleet)
        #expect(refusal(Self.packaged(), agents: [Self.agent()], name: "cp2") == .otherFleet)
        #expect(refusal(Self.packaged { ($0.identity, $0.isIdentityDamaged) = (nil, true) }) == .alreadyExists)
        // Another machine of that name is at work.
        #expect(refusal(Self.node(), agents: [Self.agent()]) == .alreadyExists)
        #expect(refusal(Self.node(), agents: [Self.agent(connected: false)]) == .alreadyExists)
        #expect(refusal(Self.node(), agents: [Self.agent(connected: false, revoked: true)]) == nil)
        #expect(refusal(Self.node(), agents: [Self.agent(connected: false, ends: .seconds(-1))]) == nil)
        #expect(refusal(Self.node(), agents: [Self.agent(cluster: "b")]) == nil)

        #expect(refusal(Self.node { $0.system = "FreeBSD" }) == .unsuitable)
        #expect(refusal(Self.node { $0.hasSystemd = false }) == .unsuitable)
        #expect(refusal(Self.node { $0.glibc = nil }) == .unsuitable)
        #expect(refusal(Self.node { $0.glibc = "2.31" }) == .unsuitable)
        #expect(refusal(Self.node { $0.enabled = "masked" }) == .unsuitable)
        #expect(refusal(Self.node { $0.host = "Über Host" }) == .malformed)
        #expect(refusal(Self.node { $0.dpkg = nil }) == .unsuitable)
        #expect(refusal(Self.node { $0.hasAptGet = false }) == .unsuitable)
        #expect(refusal(Self.node { $0.given = nil }) == .malformed)
        #expect(refusal(Self.node { $0.given?.name = "fleetctl" }) == .malformed)
        #expect(refusal(Self.node { $0.given?.architecture = "arm64" }) == .unsuitable)
        #expect(refusal(Self.node { $0.machine = "aarch64" }, Self.elf) == .unsuitable)
        #expect(refusal(Self.packaged { $0.hasAptGet = false }, agents: [Self.agent()]) == nil, "nothing to install")
    }

    /// A hint is pasted.
    @Test func noNodePutsWordsIntoAHint() {
        for (cluster, isTold) in [("b", true), ("$(reboot)", false)] {
            let error = #expect(throws: FleetError.self) {
                try Self.plan(Self.packaged { $0.identity?.cluster = cluster })
            }
            #expect(error?.hint?.contains("uninstall") == isTold && error?.hint?.contains("reboot") == false)
        }
    }

    /// What goes on there is not disturbed; an agent that is off is what it waits for.
    @Test func inTheMiddleOfARestore() throws {
        let busy: (inout NodeLook) -> Void = { $0.unfinished = ["/var/lib/fleet-agent/jobs/j/journal"] }
        #expect(try steps(Self.packaged(busy)) == [])
        #expect(
            try steps(
                Self.packaged { look in
                    busy(&look)
                    look.isActive = false
                }) == [.start])
        let upgrade = Self.packaged { look in
            busy(&look)
            look.given?.relation = .newer
        }
        #expect(refusal(upgrade, agents: [Self.agent()]) == .busy)
        #expect(refusal(Self.packaged(busy), agents: []) == .busy, "it would be enrolled anew")
        // An agent that is gone or broken comes back, and with it the end of the restore.
        let gone = Self.packaged { look in
            busy(&look)
            look.given?.relation = nil
            (look.package, look.enabled, look.isActive) = (nil, "", false)
        }
        #expect(
            try steps(gone) == [.package(version: "2", from: nil, downgrades: false), .enable, .start])
        let bare = Self.byHand { look in
            busy(&look)
            (look.program, look.programVersion, look.unit, look.isActive) = (nil, nil, nil, false)
        }
        #expect(
            try steps(bare, Self.elf) == [.program(version: "0.2.0", from: nil), .unit(replaces: false), .start])
        #expect(refusal(gone, agents: []) == .busy, "it would be enrolled anew")
    }
}

@Suite struct UninstallPlanTests {
    private func plan(
        _ look: NodeLook, agent: AgentRecord? = InstallPlanTests.agent(), purge: Bool = false, moving: JobRecord? = nil
    ) throws(FleetError) -> UninstallPlan {
        try UninstallPlan.make(
            look, cluster: "a", node: "cp1", purge: purge, terms: InstallPlanTests.terms, agent: agent, moving: moving)
    }

    private func refusal(_ look: NodeLook, agent: AgentRecord? = InstallPlanTests.agent()) -> FleetError.Code? {
        do throws(FleetError) { _ = try plan(look, agent: agent) } catch { return error.code }
        return nil
    }

    @Test func whatIsThereGoes() throws {
        let package = try plan(InstallPlanTests.packaged())
        #expect(package.removesPackage && !package.removesByHand && !package.purges && package.revokes)
        #expect(package.keeps.count == 2 && package.keeps[0].hasPrefix("/var/lib/fleet-agent"))
        #expect(package.package == "remove")
        let hand = try plan(InstallPlanTests.byHand { $0.hasDropIns = true }, purge: true)
        #expect(hand.files == ["/usr/local/bin/fleet-agent", "/etc/systemd/system/fleet-agent.service"])
        #expect(!hand.removesPackage && hand.removesByHand && hand.purges && hand.keeps.count == 1)
        let revoked = InstallPlanTests.agent(revoked: true)
        #expect(try !plan(InstallPlanTests.packaged(), agent: revoked).revokes)
        #expect(try plan(InstallPlanTests.node(), agent: revoked).isEmpty)
        #expect(try plan(InstallPlanTests.node(), agent: revoked, purge: true).isEmpty)
        let rest = try plan(InstallPlanTests.node(), agent: InstallPlanTests.agent(connected: false))
        #expect(rest.revokes && !rest.touchesNode, "a run that was cut off behind the removal")
        // What a removal has left of the package goes with a purge, once.
        let left = InstallPlanTests.node { $0.package = .init(status: "config-files", version: "2") }
        #expect(try plan(left, agent: revoked, purge: true).package == "purge")
        #expect(try plan(left, agent: revoked).isEmpty)
        let nothing = InstallPlanTests.node { $0.package = .init(status: "not-installed", version: "2") }
        #expect(try plan(nothing, agent: revoked, purge: true).isEmpty)
    }

    /// A package that comes back would start them.
    @Test func whatUpgradesHaveBroughtGoes() throws {
        let look = InstallPlanTests.packaged { $0.hasUpgrades = true }
        let told = "remove /var/lib/fleet-agent/program, with the programs that upgrades have brought"
        let plan = try plan(look)
        #expect(plan.removesUpgrades && plan.words(done: false, cluster: "a", node: "cp1").contains(told))
        #expect(plan.keeps[0].hasPrefix("/var/lib/fleet-agent, with the node's key"))
        #expect(try !self.plan(look, purge: true).removesUpgrades, "all of it goes")
        let left = InstallPlanTests.node { ($0.hasUpgrades, $0.hasState) = (true, true) }
        #expect(try self.plan(left, agent: InstallPlanTests.agent(revoked: true)).touchesNode)
    }

    @Test func anEditedUnit() throws {
        let look = InstallPlanTests.packaged { $0.unit = "edited" }
        let kept = try plan(look)
        #expect(kept.keepsUnit && kept.files.isEmpty && kept.removesByHand)
        #expect(kept.keeps.contains { $0.hasPrefix("/etc/systemd/system/fleet-agent.service.replaced") })
        let purged = try plan(look, purge: true)
        #expect(!purged.keepsUnit && purged.files == ["/etc/systemd/system/fleet-agent.service"])
    }

    /// What is revoked is the agent of the machine that is there, or nothing is.
    @Test func onlyTheNodeItself() throws {
        let copy = InstallPlanTests.packaged { $0.identity?.certificates = ["e"] }
        #expect(refusal(copy) == .otherFleet)
        #expect(refusal(copy, agent: InstallPlanTests.agent(connected: false)) == .otherFleet)
        #expect(try !plan(copy, agent: InstallPlanTests.agent(connected: false, revoked: true)).revokes)
        let away = InstallPlanTests.agent(connected: false)
        #expect(refusal(InstallPlanTests.packaged { ($0.identity, $0.isIdentityDamaged) = (nil, true) }) == .otherFleet)
        #expect(refusal(InstallPlanTests.packaged { $0.identity = nil }, agent: away) == .otherFleet, "it runs")
        #expect(refusal(InstallPlanTests.node()) == .otherFleet, "another is connected")
        let off = InstallPlanTests.packaged { ($0.identity, $0.isActive) = (nil, false) }
        #expect(refusal(off, agent: away) == nil)
        var other = off
        other.host = "cp9"
        #expect(refusal(other, agent: away) == .otherFleet)
    }

    @Test func whatNobodyInstalled() {
        for change: (inout NodeLook) -> Void in [{ $0.isActive = true }, { $0.enabled = "linked" }] {
            let look = InstallPlanTests.packaged { look in
                (look.package, look.isActive, look.enabled) = (nil, false, "")
                look.fragment = "/opt/x.service"
                change(&look)
            }
            let error = #expect(throws: FleetError.self) { try plan(look) }
            #expect(error?.code == .unsuitable && error?.message.contains("/opt/x.service") == true)
        }
    }

    @Test func whatIsRefused() {
        #expect(refusal(InstallPlanTests.packaged { $0.identity?.cluster = "b" }) == .otherFleet)
        #expect(refusal(InstallPlanTests.packaged { $0.identity?.node = "cp2" }) == .otherFleet)
        #expect(refusal(InstallPlanTests.packaged { $0.identity?.authorities = ["bb"] }) == .otherFleet)
        #expect(refusal(InstallPlanTests.packaged { $0.unfinished = ["/j"] }) == .busy)
        #expect(refusal(InstallPlanTests.node(), agent: nil) == .notFound)
    }
}

/// What is printed with a token.
@Suite struct TokenAdviceTests {
    private func terminal(_ isTerminal: Bool) -> Terminal {
        Terminal(outputIsTerminal: isTerminal, errorIsTerminal: isTerminal, color: false, columns: 80) { _, _ in }
    }

    @Test func aLineToPasteWhereOnlyAPersonReadsIt() throws {
        let reply = TokenReply(token: "fleet1.00.11@[::1]:7400", expires: .now())
        #expect(!tokenAdvice(reply, terminal(false)).contains("fleet1"), "logs keep what is written there")
        let line = try #require(
            tokenAdvice(reply, terminal(true)).split(separator: "\n").first { $0.contains("fleet1") })
        // What a shell makes of it, with the agent's and systemd's places taken.
        let script = "fleet-agent() { echo \"$*\"; cat; }; systemctl() { echo \"$*\"; }; " + line
        let outcome = try Subprocess.run("/bin/bash", ["-c", script])
        #expect(outcome.outputText == "enroll -\n\(reply.token)\nenable --now fleet-agent\n")
    }
}

@Suite struct SSHFailureTests {
    @Test(arguments: [
        ("Host key verification failed.", FleetError.Code.hostKey),
        ("No ED25519 host key is known for cp1 and you have requested strict checking.", .hostKey),
        ("@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", .hostKey),
        ("root@cp1: Permission denied (publickey,password).", .permissionDenied),
        ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", .permissionDenied),
        ("ssh: Could not resolve hostname cp1: Name or service not known", .unreachable),
        ("ssh: connect to host cp1 port 22: Connection refused", .unreachable),
        ("ssh: connect to host cp1 port 22: Connection timed out", .unreachable),
        ("Timeout, server cp1 not responding.", .unreachable),
        ("Bad configuration option: foo", .ssh), ("", .ssh),
    ])
    func whatToDo(_ said: String, _ code: FleetError.Code) {
        let error = SSHFailure.explain("root@cp1", Array(said.utf8))
        #expect(error.code == code && error.hint?.isEmpty == false)
    }

    @Test func aChangedKeyIsToldApart() {
        let changed = SSHFailure.explain("root@cp1", Array("REMOTE HOST IDENTIFICATION HAS CHANGED".utf8))
        #expect(
            changed.message.contains("another machine") && changed.hint?.contains("ssh-keygen -R cp1, then") == true)
    }

    @Test func sshItselfKnowsHowAKeyIsRemoved() {
        let said =
            "Offending ED25519 key in /home/op/.ssh/known_hosts:1\n  remove with:\n  ssh-keygen -f \"/home/op/.ssh/known_hosts\" -R \"[n]:2222\"\n"
        let error = SSHFailure.explain("n", Array(("REMOTE HOST IDENTIFICATION HAS CHANGED\n" + said).utf8))
        #expect(error.hint?.contains(#": ssh-keygen -f "/home/op/.ssh/known_hosts" -R "[n]:2222", then"#) == true)
    }

    @Test func whatToTryIsWhatWasDone() {
        let denied = SSHFailure.explain(
            "n", Array("Permission denied (publickey)".utf8), options: ["Port=2222", "ProxyCommand=nc %h"])
        #expect(denied.hint?.hasSuffix("try: ssh -o BatchMode=yes -o Port=2222 -o 'ProxyCommand=nc %h' n true") == true)
    }

    @Test func whatANodeSays() {
        let output = Array("debug\nerror: this join token expired\u{1b}[2J\nhint: make a new one\n".utf8)
        let error = NodeWords.error(output, .enrolment)
        #expect(error?.message == "this join token expired[2J" && error?.hint == "make a new one")
        #expect(NodeWords.error(Array("Segmentation fault".utf8), .enrolment) == nil)
        #expect(NodeWords.last(Array("a\nb\nc\nd\n".utf8)) == "b; c; d")
    }

    @Test func nothingIsAsked() throws {
        let shell = try SecureShell(host: "root@cp1", options: ["Port=2222"])
        #expect(shell.arguments.starts(with: ["-T", "-o", "BatchMode=yes", "-o", "Port=2222"]))
        #expect(shell.arguments.suffix(2) == ["--", "root@cp1"])
        #expect(!shell.arguments.contains { $0.contains("StrictHostKeyChecking") })
        // A jump host's ssh has no BatchMode from this one.
        #expect(
            shell.environment["SSH_ASKPASS"] == "/bin/false" && shell.environment["SSH_ASKPASS_REQUIRE"] == "force")
        for host in ["", "-oProxyCommand=x", "a b", "a\n"] {
            #expect(throws: FleetError.self) { try SecureShell(host: host, options: []) }
        }
    }
}

import FleetCommandLine
import FleetCrypto
import FleetProtocol
import FleetRepository
import FleetSystem

let authorityCommand = Command(
    "authority", "The authority that vouches for the coordinator, its agents and its operators",
    discussion: """
        It is good for ten years. Another one takes its place without a visit to any node: stop the coordinator, 'rotate', and
        start it. Agents know it still by what the former authority says of the new one, and come over as soon as they are
        connected and have no job, by the word of the coordinator's job key, which stays. 'fleetctl status' names those that
        have not; when there are none, stop it again, 'retire' and start it. Operators log in again before that.

        Where somebody may have copied the former authority's key, they can pass for the coordinator before each agent that has
        not come over, and before each operator who has not logged in again. No agent does a job of theirs. Where they may have
        copied the job key as well, enroll every node anew: RECOVERY.md.
        """,
    subcommands: [authorityShow, authorityRotate, authorityRetire])

private let authorityShow = Command(
    "show", "Show the authority, and the former one while it is good", options: [CoordinatorProgram.dataOption],
    examples: [.init("runuser -u fleet-coordinator -- fleet-coordinator authority show", "also while it serves")]
) { call in
    let directory = CoordinatorProgram.directory(call)
    _ = try directory.settings()
    // One that serves, or a rotation that is just under way, is left alone.
    let keys = try KeyRing(directory: directory.keys, isOwner: false)
    let certificate = keys.authority.certificate
    call.terminal.print("authority  \(certificate.fingerprint)")
    call.terminal.print("good       \(certificate.notBefore.short) to \(certificate.notAfter.short)")
    if let former = keys.former { call.terminal.print("former     \(former.authority.fingerprint), not retired") }
    return .success
}

private let authorityRotate = Command(
    "rotate", "Make the authority that follows, and go over to it",
    discussion: """
        The former one's key goes; copies of the coordinator that were made before still have it. Join tokens of before are good
        no more. Not while agents are upgraded: one that is on trial and does not come to the coordinator in time goes back to
        the program of before. The coordinator must not be running; a copy of it with the new keys is put into its store: put
        back from one of before, it is not known any more to agents that have come over.
        """,
    options: [CoordinatorProgram.dataOption],
    examples: [
        .init(
            "systemctl stop fleet-coordinator; runuser -u fleet-coordinator -- fleet-coordinator authority rotate; systemctl start fleet-coordinator",
            "backups that are under way go on")
    ]
) { call in
    let directory = CoordinatorProgram.directory(call)
    try directory.checkOwner()
    _ = try directory.settings()
    let lock = try directory.lock()
    let before = try KeyRing(directory: directory.keys)
    let vault = try openVault(directory, log: .standardError(level: .warning))
    let former = before.authority.certificate.fingerprint
    let made = try await AuthorityRotation.rotate(in: directory.keys) { certificate throws(FleetError) in
        var event = Act("authority.rotate", by: "coordinator")
        event.detail = ["former": former, "fingerprint": certificate.fingerprint]
        try await vault.catalogue.audit(event)
    }
    await vault.catalogue.close()
    call.terminal.print("the authority is \(made.fingerprint) now, good until \(made.notAfter.short)")
    copy(directory, vault, call.terminal)
    call.terminal.note(
        "start the coordinator, and keep a copy of \(directory.keys) again; 'fleetctl status' says who comes over")
    _ = consume lock
    return .success
}

private let authorityRetire = Command(
    "retire", "Let nobody in any more with a former authority's certificate",
    discussion: "Refused while an agent has no other one. The coordinator must not be running.",
    options: [
        .init("force", "also while agents have not come over; each is shut out until it is enrolled again"),
        CoordinatorProgram.dataOption,
    ],
    examples: [.init("runuser -u fleet-coordinator -- fleet-coordinator authority retire", "the end of a rotation")]
) { call in
    let directory = CoordinatorProgram.directory(call)
    try directory.checkOwner()
    _ = try directory.settings()
    let lock = try directory.lock()
    let keys = try KeyRing(directory: directory.keys)
    guard let former = keys.former else {
        throw FleetError(.notFound, "there is no former authority that could be retired", hint: "nothing is to be done")
    }
    let vault = try openVault(directory, log: .standardError(level: .warning))
    let left = try await vault.catalogue.notYet(under: keys.authority.certificate.fingerprint)
    guard left.agents.isEmpty || call.has("force") else {
        throw FleetError(
            .busy,
            "\(left.agents.count) agents would not be let in any more: \(left.agents.prefix(10).joined(separator: ", "))",
            hint:
                "start the coordinator and let them connect, or revoke those that are gone; --force shuts each out until it is enrolled again on its node"
        )
    }
    var event = Act("authority.retire", by: "coordinator")
    event.detail = ["former": former.authority.fingerprint, "agents": "\(left.agents.count)"]
    event.detail[CertificateHistory.peopleLeft] = "\(left.operators.count)"
    try await vault.catalogue.audit(event)
    try AuthorityRotation.retire(in: directory.keys)
    await vault.catalogue.close()
    call.terminal.print("\(former.authority.fingerprint) is retired")
    copy(directory, vault, call.terminal)
    for name in left.operators {
        call.terminal.note("\(name) is shut out; let them log in again: fleetctl operator token \(name)")
    }
    for name in left.agents {
        call.terminal.note(
            "\(name) is shut out; enrol it again: fleetctl agent token, then on its node fleet-agent enroll --force -")
    }
    call.terminal.note("start the coordinator")
    _ = consume lock
    return .success
}

/// A coordinator that is put back has the keys as they are now.
private func copy(_ directory: DataDirectory, _ vault: Vault, _ terminal: Terminal) {
    guard let repository = (vault.store as? RepositoryStore)?.repository else { return }
    do throws(FleetError) {
        _ = try CoordinatorCopies(
            directory: directory, repository: repository, log: .standardError(level: .warning)
        ).make()
    } catch {
        terminal.error(error.during("no copy of the coordinator has the keys as they are now"))
        terminal.note("start the coordinator, and see that 'fleetctl coordinator copies' has a new one soon")
    }
}

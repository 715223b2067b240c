import FleetCommandLine
import FleetRepository
import FleetSystem

let rekeyCommand = Command(
    "rekey", "Replace the keys of the snapshot repository",
    discussion: """
        Snapshots are encrypted with a data key that the repository holds wrapped: once for keys/repository.key, once for
        the recovery key that 'init' printed. This makes a new repository.key and wraps anew; no snapshot is rewritten.
        With --recovery-key it works where repository.key is lost: put the recovery key into a file first, and remove that
        file afterwards; repository.key is made anew then, whatever else is asked for. The coordinator must not be running.

        --data-key is for the day when somebody may have copied repository.key and the store's config: what is stored from
        then on is encrypted with a new data key, and repository.key and the recovery key are new as well. What was stored
        before stays as it is, for whoever has the old keys and gets at the store; it goes with the snapshots that need it.
        If this is interrupted, repository.key opens the store all the same: run it again.
        """,
    options: [
        .init("recovery-key", value: "FILE", "open the repository with the recovery key in this file"),
        .init("new-recovery-key", "replace the recovery key instead, and print the new one"),
        .init("data-key", "replace the data key as well, and the recovery key, and print the new one"),
        CoordinatorProgram.dataOption,
    ],
    examples: [
        .init("fleet-coordinator rekey", "somebody who left knew the key"),
        .init("fleet-coordinator rekey --recovery-key /root/recovery.txt", "repository.key is lost"),
        .init("fleet-coordinator rekey --data-key", "somebody may have copied the keys"),
    ]
) { call in
    guard !(call.has("data-key") && call.has("new-recovery-key")) else {
        throw FleetError(
            .usage, "--data-key and --new-recovery-key exclude each other",
            hint: "--data-key makes a new recovery key, too")
    }
    let directory = CoordinatorProgram.directory(call)
    try directory.checkOwner()
    let lock = try directory.lock()
    let key =
        if let path = call.value("recovery-key") { try DataDirectory.key(in: path) } else {
            try directory.masterKey()
        }
    if call.has("new-recovery-key") {
        try directory.replaceRecoveryKey(openedBy: key) { recovery throws(FleetError) in
            // With the recovery key, the key file was made anew before.
            try showRecoveryKey(
                recovery, call.terminal,
                otherwise: key.role == .recovery
                    ? "the recovery key was not replaced, and \(directory.repositoryKey) is new: run "
                        + "'fleet-coordinator rekey --new-recovery-key'"
                    : "nothing was replaced: run it again")
        }
        if key.role == .recovery { call.terminal.note("\(directory.repositoryKey) is a new key, too") }
    } else if call.has("data-key") {
        let recovery = try directory.replaceDataKey(openedBy: key)
        call.terminal.print(
            "what is stored from now on has a new data key, and \(directory.repositoryKey) is new; \(formerKeys)")
        try showRecoveryKey(
            recovery, call.terminal,
            otherwise: "the former one opens the store no more: run 'fleet-coordinator rekey --new-recovery-key'")
    } else {
        try directory.replaceMasterKey(openedBy: key)
        call.terminal.print("\(directory.repositoryKey) is a new key; \(formerKeys)")
    }
    _ = consume lock
    return .success
}

/// Whoever kept a former config can still open that one.
private let formerKeys =
    "a former key opens this config no more; see RECOVERY.md where somebody has a copy of an earlier one"

/// On the standard output, once: it is the only thing there that is a secret.
///
/// - Parameter otherwise: what to do where nobody can have seen it.
/// - Throws: what kept it from being written: a key that nobody saw must not look like a success.
func showRecoveryKey(_ key: RepositoryKey, _ terminal: Terminal, otherwise hint: String) throws(FleetError) {
    do throws(FleetError) { try terminal.printSurely("recovery key: \(key.text)") } catch {
        var error = error.during("the new recovery key could not be shown")
        error.hint = hint
        throw error
    }
    terminal.note(
        """
        Write it down and keep it away from this machine: without keys/repository.key it is the only way to the
        snapshots, and it is not shown again.
        """)
}

import FleetCommandLine
import FleetProtocol
import FleetSystem

let decideCommand = Command(
    "decide", "End a restore of several members whose coordinator is lost",
    discussion: """
        Each member of such a restore waits for the coordinator's word, with its etcd stopped if need be. Where that
        coordinator and its catalogue are lost for good, nobody will ever say it: then you do, the same on ALL members.
        Without DECISION it shows how far this member has come. If any of them says "committed" of the restore that others
        wait with, the decision is commit, otherwise it is recall. Stop the agents first, look at ALL members before you
        decide on any, then start the agents: they do the rest.

        As long as the coordinator lives, or its catalogue can be put back, leave the decision to it.
        """,
    arguments: [.init("DECISION", "recall (back to the old data) or commit", count: .optional)],
    options: [AgentProgram.stateOption, .init("yes", "do not ask")],
    examples: [
        .init("systemctl stop fleet-agent && fleet-agent decide", "how far this member has come"),
        .init("fleet-agent decide recall && systemctl start fleet-agent", "back to the old data, on every member"),
    ],
    exitStatuses: [(.declined, "the question was not answered with yes")]
) { call in
    let paths = AgentProgram.paths(call)
    let lock = try FileLock(paths.state + "/lock", hint: "stop the agent first: systemctl stop fleet-agent")
    defer { _ = lock }
    let restore = try OrphanedRestore.find(paths)
    let nodes = restore.work.group?.members.map(\.node).joined(separator: ", ") ?? ""
    call.terminal.print("restore    \(restore.name), of \(nodes)")
    call.terminal.print("this node  \(Terminal.clean(restore.standing))")
    let decision: RestoreDecision
    switch call.argument("DECISION") {
    case nil: return .success
    case "recall":
        decision = .recall(FleetError("recalled-by-hand", "it was taken back on the node, without its coordinator"))
    case "commit": decision = .proceed(.commit)
    case let other?:
        throw FleetError(
            .usage, "\(Names.quote(other)) is no decision", hint: "give recall, commit, or nothing to look")
    }
    guard call.has("yes") || call.terminal.confirms("Decide so, here and on all of \(nodes)?") else {
        call.terminal.note("nothing was decided; --yes decides without a question")
        return .declined
    }
    try restore.decide(decision)
    call.terminal.note("written down; do the same on the others, then on each: systemctl start fleet-agent")
    return .success
}

public import FleetSystem

extension FleetError.Code {
    /// The value is set in a form or at a place where the agent does not change it.
    public static let notEditable: Self = "not-editable"
    /// A restore would write where the agent must not.
    public static let notWritable: Self = "not-writable"
    /// More than one member: all of them have to be restored together.
    public static let severalMembers: Self = "several-members"
    /// The node's etcd is not the member that a restore of several takes it for.
    public static let notTheMember: Self = "not-the-member"
    /// Somebody else changed a file between the plan and the switch.
    public static let changedMeanwhile: Self = "changed-meanwhile"
    /// What was restored is not what was meant: id, revision, keys or alarms differ.
    public static let verificationFailed: Self = "verification-failed"
    /// The etcd of the node is older than the one that the snapshot was saved from.
    public static let etcdTooOld: Self = "etcd-too-old"
    /// A process or pod did not stop or did not start in the time that it has.
    public static let notStopped: Self = "not-stopped"
    public static let notStarted: Self = "not-started"
    /// An undo or a cleanup of a restore that this node knows nothing of, or that it did not carry to its end.
    public static let notRestoredHere: Self = "not-restored-here"
    /// The data that an undo would go back to is not there, or is not what the restore left there.
    public static let oldDataGone: Self = "old-data-gone"
    /// A directory that is to be removed is one that etcd is configured for, or works in.
    public static let inForce: Self = "in-force"
    /// Something that etcd did not make is where its old data is.
    public static let notEtcds: Self = "not-etcds"
    public static let symbolicLink: Self = "symbolic-link"
    public static let mountPoint: Self = "mount-point"
    /// The journal of a restore can't be read any more.
    public static let journalDamaged: Self = "journal-damaged"
    /// Neither forward nor back: somebody has to look.
    public static let stuck: Self = "stuck"
}

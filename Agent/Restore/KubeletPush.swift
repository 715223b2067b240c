internal import FleetSystem

/// A kubelet that does not notice a changed manifest notices one that goes and comes.
extension RestoreSteps {
    /// For people: they should know it of their kubelet.
    static let pushNote = "the kubelet did not notice the changed manifest: it was moved out and back"

    /// Where the kubelet gets no word of changes it lists its directory every 20 s (fileCheckFrequency). The manifest stays
    /// away so long even when no etcd can be seen to go: one that ends again and again is not there most of the time.
    private static let secondsAway = 25

    /// The manifest leaves its directory until `isGone`, then it is back.
    func push(_ manifest: String, _ isGone: () throws(FleetError) -> Bool) throws(FleetError) {
        try FileSystem.makeDirectories(work.holdingDirectory)
        try FileSystem.rename(manifest, to: held(manifest))
        faults.pass("move-manifest-out", .after)
        let earliest = ContinuousClock.now + .seconds(Self.secondsAway)
        do throws(FleetError) {
            _ = try Waiting.until(max(work.waitSeconds, Self.secondsAway + 5)) { () throws(FleetError) in
                if ContinuousClock.now < earliest { return false }
                return try isGone()
            }
        } catch {
            // Whatever it is, etcd's manifest does not stay outside because of it.
            _ = try returnEtcdManifest()
            throw error
        }
        _ = try returnEtcdManifest()
    }

    /// After a crash between the two moves of a push, or from where it waited for the other members.
    ///
    /// - Returns: whether it was away.
    func returnEtcdManifest() throws(FleetError) -> Bool {
        guard case .staticPod(let manifest, _, _) = work.launch, FileSystem.exists(held(manifest)) else { return false }
        guard !FileSystem.exists(manifest) else {
            throw FleetError(
                .changedMeanwhile, "\(manifest) was written again while it was away",
                hint: "compare it with \(held(manifest)) and keep one of the two")
        }
        try FileSystem.rename(held(manifest), to: manifest)
        return true
    }
}

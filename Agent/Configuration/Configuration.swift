internal import FleetProtocol
internal import FleetSystem

/// The configuration of this node. Blocks.
enum Configuration {
    /// - Parameter discover: of etcd; where there is none, what else there is counts all the same.
    /// - Throws: `malformed` where a bundle could not be made of it; what kept etcd from being found: without its files the
    ///   former configuration is better than this one.
    static func collect(
        _ discover: () throws(FleetError) -> DiscoveredEtcd
    ) throws(FleetError) -> Bundle {
        var found: DiscoveredEtcd?
        do throws(FleetError) { found = try discover() } catch {
            guard error.code == .noEtcd || error.code == .etcdElsewhere else { throw error }
        }
        return try read(found).bundle()
    }

    static func read(_ found: DiscoveredEtcd?, files: NodeFiles? = nil) -> ConfigurationReader {
        let files = files ?? found?.files ?? NodeFiles()
        return ConfigurationReader(ConfigurationPlan(found, files), files)
    }
}

/// Brings it to the coordinator, where that has another one and keeps any.
struct ConfigurationSender: Sendable {
    typealias Collect = @Sendable () throws(FleetError) -> Bundle
    let collect: Collect
    let log: Log

    /// - Throws: why it is not there now. A coordinator of before there were bundles is no reason.
    func send(on connection: Connection) async throws(FleetError) {
        do throws(FleetError) {
            // Asked before anything is looked at: where it is turned off, nothing leaves the node, not a digest either.
            guard try await offer(BundleOffer(), connection).isOn else { return }
            let bytes: [UInt8]
            do throws(FleetError) {
                let collect = self.collect
                bytes = try await onDisk { () throws(FleetError) in
                    let bundle = try collect()
                    return bundle.isEmpty ? [] : try bundle.encoded()
                }
            } catch {
                _ = try await offer(BundleOffer(problem: error), connection)
                throw error
            }
            // A host with nothing of the kind, as a verifier.
            guard !bytes.isEmpty else { return }
            let digest = StreamDigest(of: bytes)
            guard try await offer(BundleOffer(digest: digest.sha256), connection).isWanted else { return }
            let stream = try await connection.open(Method.sendBundle, try JSON.encode(BundleOffer()))
            do throws(FleetError) {
                try await stream.send(bytes)
                try await stream.finish(digest)
                _ = try JSON.decode(Acknowledgement.self, from: try await stream.receiveReply())
            } catch {
                await stream.fail(error)
                throw error
            }
            log.info("sent this node's configuration", ["bytes": "\(bytes.count)"])
        } catch { if error.code != .unknownMethod { throw error } }
    }

    private func offer(_ offer: BundleOffer, _ connection: Connection) async throws(FleetError) -> BundleAnswer {
        try await connection.call(Method.offerBundle, offer)
    }

    /// As long as the connection lasts: soon, and then every ten minutes or so, not all agents at once.
    ///
    /// - Parameter isMoving: while a restore moves files about, what is there is neither what was nor what will be.
    func keepUpToDate(on connection: Connection, unless isMoving: @Sendable () async -> Bool) async {
        var pause = Duration.seconds(Int.random(in: 1...20))
        while !Task.isCancelled {
            do { try await Task.sleep(for: pause) } catch { return }
            pause = .seconds(Int.random(in: 480...720))
            guard await !isMoving() else { continue }
            do throws(FleetError) { try await send(on: connection) } catch {
                if await connection.isClosed { return }
                log.warning("this node's configuration could not be sent: \(error.message)")
                if error.isRetryable { pause = .seconds(Int.random(in: 30...90)) }
            }
        }
    }
}

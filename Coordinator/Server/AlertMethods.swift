import FleetCrypto
import FleetProtocol
import FleetReactor
import FleetSystem
import FleetWebhook

/// What an operator may ask about who is told.
extension CoordinatorServer {
    /// - Returns: false for a method that is none of these.
    func serveAlerts(_ stream: FleetProtocol.Stream, _ who: Principal) async throws(FleetError) -> Bool {
        let actor = who.actor
        func request<Request: Decodable>(_ type: Request.Type) throws(FleetError) -> Request {
            try JSON.decode(type, from: stream.request)
        }
        switch stream.method {
        case ControlMethod.listAlertTargets: try await stream.finish(try await catalogue.alertTargets())
        case ControlMethod.setWebhook:
            try await stream.finish(try await setWebhook(try request(WebhookRequest.self), who))
        case ControlMethod.setAlertCommand:
            let wanted = try request(AlertCommandRequest.self)
            try AlertRoute.check(program: wanted.program)
            try await stream.finish(
                try await setTarget(wanted.name, .command(program: wanted.program), actor))
        case ControlMethod.removeAlertTarget:
            try await catalogue.removeAlertTarget(try request(NameRequest.self).name, by: actor)
            try await stream.finish(Acknowledgement())
        case ControlMethod.resumeAlerts:
            try await catalogue.resumeAlerts(fleet: configuration.advertise.description, by: actor)
            try await stream.finish(Acknowledgement())
        case ControlMethod.testAlertTarget:
            try await test(try request(NameRequest.self).name, actor)
            try await stream.finish(Acknowledgement())
        default: return false
        }
        return true
    }

    private func setTarget(_ name: String, _ route: AlertRoute, _ actor: String) async throws(FleetError) -> AlertTarget
    {
        try await catalogue.setAlertTarget(name, route, fleet: configuration.advertise.description, by: actor)
    }

    private func setWebhook(_ wanted: WebhookRequest, _ who: Principal) async throws(FleetError) -> WebhookReply {
        let allowsHTTP = wanted.allowsHTTP ?? false
        guard Webhook.host(wanted.url, allowsHTTP: allowsHTTP) != nil else {
            throw FleetError(
                .usage, "that is no address of a webhook",
                hint: "give https://HOST[:PORT]/PATH; http:// only with --http, on a network that you trust")
        }
        if let authorities = wanted.authorities, (try? X509Certificate(pem: authorities)) == nil {
            throw FleetError(.usage, "the authorities for the webhook hold no certificate", hint: "give a PEM file")
        }
        // What root has the coordinator run is root's to replace.
        if try await catalogue.alertTargets(wanted.name).first?.kind == .command {
            try who.needsHost(ControlMethod.setWebhook)
        }
        let secret = SecureRandom.bytes(32).hex
        let route = AlertRoute.webhook(
            url: wanted.url, secret: secret, authorities: wanted.authorities, allowsHTTP: allowsHTTP)
        return WebhookReply(target: try await setTarget(wanted.name, route, who.actor), secret: secret)
    }

    /// At once, and with what went wrong as the answer; nothing waits and nothing is tried again.
    private func test(_ name: String, _ actor: String) async throws(FleetError) {
        let route = try await catalogue.alertRoute(name)
        let now = Timestamp.now()
        let message = AlertMessage(
            fleet: configuration.advertise.description, state: .test, alert: "test", key: "test", cluster: nil,
            node: nil,
            since: now, time: now, text: "a test of the alerts to \(name), asked for by \(actor)", action: nil)
        let body = try JSON.encode(message)
        // It tells somebody something, or has a program run.
        try await catalogue.audit(Act("alert.test", by: actor, subject: name))
        try await Self.messengers { () throws(FleetError) in try route.send(body, id: Identifier.make(at: now)) }
        try await catalogue.tested(name)
    }
}

extension AlertRoute {
    /// - Throws: `usage` for what can't be run.
    static func check(program: String) throws(FleetError) {
        guard program.hasPrefix("/"), FileSystem.isExecutable(program) else {
            throw FleetError(
                .usage, "\(Names.quote(program)) is no program that the coordinator's user can run",
                hint: "give the absolute path of an executable file, outside of /home and /tmp, which its unit hides")
        }
    }
}

// The admin routes of a tenant's secrets and keys. No route gives a value back.
internal import Core
internal import HTTP
internal import Platform
internal import Vault

/// What a path below /admin/v1/tenants asks for.
private enum SecretRoute {
    case list(tenant: String, function: String?)
    case one(SecretPlace)
    case rotateKey(tenant: String)

    init?(_ parts: [String]) {
        switch (parts.count, parts.dropFirst(2).first, parts.last) {
        case (3, "secrets", _): self = .list(tenant: parts[1], function: nil)
        case (4, "secrets", _): self = .one(SecretPlace(tenant: parts[1], function: nil, name: parts[3]))
        case (4, "keys", "rotate"): self = .rotateKey(tenant: parts[1])
        case (5, "functions", "secrets"): self = .list(tenant: parts[1], function: parts[3])
        case (6, "functions", _) where parts[4] == "secrets":
            self = .one(SecretPlace(tenant: parts[1], function: parts[3], name: parts[5]))
        default: return nil
        }
    }
}

extension Gateway {
    /// - Parameter parts: of the path, from `tenants` on.
    func tenantKeys(_ exchange: HTTPExchange, _ parts: [String], requestID: String) {
        guard let route = SecretRoute(parts) else {
            return answer(
                exchange,
                RuntimeError(
                    .notFound, step: "admin \(exchange.request.method) \(Names.quoted(exchange.request.path))",
                    cause: "there is no such route",
                    next: "secrets are at tenants/{tenant}/secrets/{name} and "
                        + "tenants/{tenant}/functions/{function}/secrets/{name}"), requestID: requestID)
        }
        switch (exchange.request.method, route) {
        case ("GET", .list(let tenant, let function)):
            json(exchange, Self.list(shared.vault.list(tenant: tenant, function: function)), requestID)
        case ("PUT", .one(let place)): setSecret(exchange, place, requestID: requestID)
        case ("DELETE", .one(let place)): removeSecret(exchange, place, requestID: requestID)
        case ("POST", .rotateKey(let tenant)): rotateKey(exchange, of: tenant, requestID: requestID)
        default:
            answer(
                exchange,
                RuntimeError(
                    .methodNotAllowed, step: "admin \(exchange.request.method)",
                    cause: "a secret is set by PUT and removed by DELETE, a list of names is read by GET",
                    next: "nobody but the functions that name it gets its value back"), requestID: requestID)
        }
    }

    private func setSecret(_ exchange: HTTPExchange, _ place: SecretPlace, requestID: String) {
        do throws(RuntimeError) {
            try place.validate()
        } catch {
            return answer(exchange, error, requestID: requestID)
        }
        let gatherer = SecretGatherer(limit: Vault.largestSecret)
        let own = LoopBound((self, exchange), on: loop)
        exchange.onBody = { bytes, isEnd in
            let (gateway, exchange) = own.value
            guard gatherer.append(bytes) else {
                return gateway.answer(
                    exchange,
                    RuntimeError(
                        .payloadTooLarge, step: "set the secret \(place.name)",
                        cause: "its value is larger than \(Vault.largestSecret) bytes",
                        next: "keep large data in the artefact, and its key in a secret"), requestID: requestID)
            }
            guard isEnd else { return }
            let value = gatherer.gathered
            gateway.inBackground(exchange, requestID: requestID) { (shared) throws(RuntimeError) in
                Self.describe(try shared.vault.set(place, to: value))
            }
        }
    }

    private func removeSecret(_ exchange: HTTPExchange, _ place: SecretPlace, requestID: String) {
        inBackground(exchange, requestID: requestID) { (shared) throws(RuntimeError) in
            guard try shared.vault.remove(place) else {
                throw RuntimeError(
                    .notFound, step: "remove the secret \(place.name)", cause: "there is no such secret",
                    next: "see `swiftlet secret ls`")
            }
            return jsonObject([("removed", .text(place.name))])
        }
    }

    /// POST …/keys/rotate[?reseal=true]: a new key from now on, and with `reseal` the old ones go once nothing needs them.
    private func rotateKey(_ exchange: HTTPExchange, of tenant: String, requestID: String) {
        let reseals = exchange.request.query.split(separator: "&").contains("reseal=true")
        inBackground(exchange, requestID: requestID) { (shared) throws(RuntimeError) in
            let version = try shared.vault.rotateKey(of: tenant)
            if reseals { shared.background.run { shared.reseal(tenant) } }
            return jsonObject([
                ("tenant", .text(tenant)), ("key_version", .number(Int64(version))),
                ("reseals", .literal(reseals ? "true" : "false")),
            ])
        }
    }

    /// Does what blocks off the loop, and answers with the JSON text that comes of it.
    private func inBackground(
        _ exchange: HTTPExchange, requestID: String,
        _ job: @escaping @Sendable (GatewayShared) throws(RuntimeError) -> String
    ) {
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.background.run { [shared] in
            let result = Result { () throws(RuntimeError) in try job(shared) }
            remote.submit { _ in
                let (gateway, exchange) = own.value
                switch result {
                case .success(let body): gateway.json(exchange, body, requestID)
                case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                }
            }
        }
    }

    private static func list(_ secrets: [SecretDescription]) -> String {
        "{\"secrets\":[" + secrets.map(describe).joined(separator: ",") + "]}"
    }

    private static func describe(_ secret: SecretDescription) -> String {
        jsonObject([
            ("tenant", .text(secret.place.tenant)),
            ("function", secret.place.function.map { .text($0) } ?? .literal("null")),
            ("name", .text(secret.place.name)), ("version", .number(Int64(secret.version))),
            ("created_at_ms", .number(secret.createdAt)), ("changed_at_ms", .number(secret.changedAt)),
        ])
    }
}

extension GatewayShared {
    /// Destroys a tenant's keys, and so everything that they sealed; then its files, plain ones as well. Blocks.
    ///
    /// - Precondition: the registry knows none of its functions any more, and no worker of it runs.
    package func shred(_ tenant: String) throws(RuntimeError) {
        try vault.shred(tenant)
        store.sealed?.remove(tenant: tenant)
        inference.forget(tenant)
    }

    /// Seals everything of a tenant with its newest key, and then destroys the older ones. Blocks.
    func reseal(_ tenant: String) {
        do throws(RuntimeError) {
            let secrets = try vault.resealSecrets(of: tenant)
            let files = try store.sealed?.reseal(tenant) ?? 0
            try vault.forgetOldKeys(of: tenant)
            Log.info("resealed", [("tenant", tenant), ("secrets", "\(secrets)"), ("files", "\(files)")])
        } catch {
            Log.error("resealing stopped; older keys are kept", [("tenant", tenant), ("cause", "\(error)")])
        }
    }
}

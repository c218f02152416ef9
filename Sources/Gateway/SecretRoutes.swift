// The admin routes of a tenant's secrets and of the key that seals its data. No route gives a value back.
package import Core
internal import HTTP
package import Inference
internal import Platform
internal import PluginHost
internal import Registry
package import Vault

extension Gateway {
    /// GET: of a tenant and all of its functions, or of one function; those that the caller may touch.
    func listSecrets(_ exchange: HTTPExchange, of tenant: String, function: String?, requestID: String) {
        let principal = exchange.caller.principal
        let secrets = shared.vault.list(tenant: tenant, function: function).filter { secret in
            secret.place.function.map(principal.mayTouch) ?? true
        }
        answer(exchange, .object(["secrets": .array(secrets.map(\.described))]), requestID)
    }

    /// PUT: the body is the value, as it is.
    func setSecret(_ exchange: HTTPExchange, _ place: SecretPlace, requestID: String) {
        if let refusal = mayChange(place, exchange.caller.principal) {
            return answer(exchange, refusal, requestID: requestID)
        }
        let gatherer = SecretGatherer(limit: Vault.largestSecret)
        let own = LoopBound((self, exchange), on: loop)
        exchange.onBody = { bytes, isEnd in
            let (gateway, exchange) = own.value
            guard gatherer.append(bytes) else {
                return gateway.answer(exchange, Vault.tooLarge(place), requestID: requestID)
            }
            guard isEnd else { return }
            let value = gatherer.gathered
            gateway.change(exchange, requestID) { shared throws(RuntimeError) in
                try shared.requireTenant(place.tenant)
                return try shared.vault.set(place, to: value).described
            }
        }
    }

    /// DELETE
    func removeSecret(_ exchange: HTTPExchange, _ place: SecretPlace, requestID: String) {
        if let refusal = mayChange(place, exchange.caller.principal) {
            return answer(exchange, refusal, requestID: requestID)
        }
        change(exchange, requestID) { shared throws(RuntimeError) in
            guard try shared.vault.remove(place) else {
                throw RuntimeError(
                    .notFound, step: "remove the secret \(place.name)", cause: "there is no such secret",
                    next: "see `swiftlet secret ls`")
            }
            return .object(["removed": .string(place.name)])
        }
    }

    private func mayChange(_ place: SecretPlace, _ principal: Principal) -> RuntimeError? {
        // A key for some functions has no say in what all of them get.
        guard place.function != nil || principal.functions == nil else {
            return Authorization.forbidden(.setSecret, principal, place.tenant)
        }
        do throws(RuntimeError) {
            try place.validate()
            return nil
        } catch {
            return error
        }
    }

    /// POST …/data-key/rotate[?reseal=true]: a new key from now on, and with `reseal` the old ones go once nothing needs them.
    func rotateDataKey(_ exchange: HTTPExchange, of tenant: String, requestID: String) {
        let reseals = exchange.request.query.split(separator: "&").contains("reseal=true")
        change(exchange, requestID) { shared throws(RuntimeError) in
            try shared.requireTenant(tenant)
            let version = try shared.vault.rotateKey(of: tenant)
            if reseals { shared.background.run { shared.reseal(tenant) } }
            return .object([
                "tenant": .string(tenant), "key_version": .integer(Int64(version)), "reseals": .bool(reseals),
            ])
        }
    }
}

extension GatewayShared {
    /// Whoever isn't there, or is being deleted, must not get keys that nobody deletes.
    fileprivate func requireTenant(_ name: String) throws(RuntimeError) {
        guard let tenant = registry.snapshot.tenants[name], tenant.state == .active || tenant.state == .suspended else {
            throw Registry.noTenant(name)
        }
    }

    /// Seals everything of a tenant with its newest key, and then destroys the older ones. Blocks.
    fileprivate func reseal(_ tenant: String) {
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

extension SecretDescription {
    fileprivate var described: JSONValue {
        .object([
            "tenant": .string(place.tenant), "function": place.function.map(JSONValue.string) ?? .null,
            "name": .string(place.name), "version": .integer(Int64(version)), "created_at_ms": .integer(createdAt),
            "changed_at_ms": .integer(changedAt),
        ])
    }
}

/// What deleting a tenant does here: its keys go, and so everything that they sealed, wherever a copy of it lies.
package struct SealedData: TenantData {
    private let vault: Vault
    private let inference: InferenceService

    package init(_ vault: Vault, _ inference: InferenceService) {
        self.vault = vault
        self.inference = inference
    }

    package var name: String { "secrets" }

    package func erase(_ tenant: String) throws(RuntimeError) -> Int {
        let count = vault.list(tenant: tenant).count
        try vault.shred(tenant)
        inference.forget(tenant)
        return count
    }
}

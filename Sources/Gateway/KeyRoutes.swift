// The routes of API keys, a tenant's and the platform's: made, shown once, bounded, rotated with overlap, revoked at once; and whoami.
internal import Core
internal import HTTP
internal import Identity
internal import Platform
internal import Registry

extension Gateway {
    func whoAmI(_ exchange: HTTPExchange, requestID: String) {
        let principal = exchange.caller.principal
        var members: [String: JSONValue] = [
            "id": .string(principal.id),
            "permissions": .array(
                Permission.allCases.filter(principal.permissions.contains).map { .string("\($0)") }),
        ]
        if let tenant = principal.tenant { members["tenant"] = .string(tenant) }
        if let role = principal.role { members["role"] = .string(role.rawValue) }
        if let functions = principal.functions { members["functions"] = .array(functions.map { .string("\($0)") }) }
        if let models = principal.models { members["models"] = .array(models.map { .string("\($0)") }) }
        if let limits = LevelLimits.value(principal.limits, principal.quotas) { members["limits"] = limits }
        answer(exchange, .object(members), requestID)
    }

    func listKeys(_ exchange: HTTPExchange, of tenant: String?, requestID: String) {
        if let tenant, shared.registry.snapshot.tenants[tenant] == nil {
            return answer(exchange, Registry.noTenant(tenant), requestID: requestID)
        }
        let now = WallClock.milliseconds
        let keys = shared.registry.snapshot.keys(of: tenant).map { $0.described(now) }
        answer(exchange, .object(["keys": .array(keys)]), requestID)
    }

    /// POST: what `KeyRecord` reads. The answer is the only place where the key's text ever is.
    func createKey(_ exchange: HTTPExchange, for tenant: String?, requestID: String) {
        let maker = exchange.caller.principal
        readObject(exchange, known: KeyRecord.members, requestID) { gateway, members in
            gateway.change(exchange, requestID, status: 201) { shared throws(RuntimeError) in
                let text = try APIKey(kind: tenant == nil ? .platform : .tenant)
                let record = try KeyRecord(
                    .object(members), hash: try text.hash, tenant: tenant, now: WallClock.milliseconds,
                    step: "create a key"
                )
                try Self.check(record, madeBy: maker)
                try shared.registry.addKey(record)
                shared.refreshPolicies(record)
                return record.shown(text)
            }
        }
    }

    /// POST: `{"overlap_s"?}`. The old key goes on for so long (default: a day), the new one is the same otherwise.
    func rotateKey(_ exchange: HTTPExchange, _ id: String, of tenant: String?, requestID: String) {
        let maker = exchange.caller.principal
        readObject(exchange, known: ["overlap_s"], requestID) { gateway, members in
            gateway.change(exchange, requestID, status: 201) { shared throws(RuntimeError) in
                let overlap = try Self.overlap(members["overlap_s"])
                var old = try shared.registry.key(id, of: tenant)
                let now = WallClock.milliseconds
                guard !old.isExpired(now) else {
                    throw RuntimeError(
                        .conflict, step: "rotate the key \(id)", cause: "it has expired",
                        next: "make a new one with `swiftlet key create`")
                }
                let text = try APIKey(kind: tenant == nil ? .platform : .tenant)
                let new = old.replaced(byHash: try text.hash, now: now)
                try Self.check(new, madeBy: maker)
                old.expiresAt = min(old.expiresAt ?? .max, now + overlap * 1000)
                try shared.registry.replaceKey(old, by: new)
                shared.refreshPolicies(new)
                return new.shown(text)
            }
        }
    }

    /// PATCH: `{"limits": {…}}`, all of them, in place of the old; those of keys that it took the place of stay.
    func changeKey(_ exchange: HTTPExchange, _ id: String, of tenant: String?, requestID: String) {
        readObject(exchange, known: ["limits"], requestID) { gateway, members in
            gateway.change(exchange, requestID) { shared throws(RuntimeError) in
                guard let limits = members["limits"] else {
                    throw Self.missing("limits", "change the key \(id)", "what docs/limits.md has for keys, or {}")
                }
                let old = try shared.registry.key(id, of: tenant)
                var new = old
                try new.bound(limits, step: "change the key \(id)")
                try shared.registry.changeKey(new)
                shared.refreshPolicies(old, new)
                return new.described(WallClock.milliseconds)
            }
        }
    }

    func revokeKey(_ exchange: HTTPExchange, _ id: String, of tenant: String?, requestID: String) {
        change(exchange, requestID) { shared throws(RuntimeError) in
            let key = try shared.registry.key(id, of: tenant)
            try shared.registry.revokeKey(key)
            shared.refreshPolicies(key)
            return key.described(WallClock.milliseconds)
        }
    }

    private static func overlap(_ value: JSONValue?) throws(RuntimeError) -> Int64 {
        switch value {
        case nil: return 86_400
        case .integer(let seconds)? where (0...2_592_000).contains(seconds): return seconds
        case let other?:
            throw RuntimeError(
                .badRequest, step: "rotate a key", cause: "'overlap_s' is \(other.kind)",
                next: "use whole seconds from 0 to 2592000")
        }
    }

    /// Nobody hands out more than they have.
    private static func check(_ record: KeyRecord, madeBy maker: Principal) throws(RuntimeError) {
        let narrowed = record.tenant != nil && maker.tenant == nil
        let isWithin = narrowed || maker.permissions.isSuperset(of: record.permissions)
        let patterns = isWider(record.functions, than: maker.functions) || isWider(record.models, than: maker.models)
        guard !isWithin || patterns else { return }
        throw RuntimeError(
            .forbidden, step: "create a key", cause: "it may do more than \(maker.id), which makes it",
            next: "ask for a narrower role, fewer scopes, or the functions and models that the maker may touch")
    }

    /// True when `patterns` has one that `bound` does not have itself.
    private static func isWider(_ patterns: [NamePattern]?, than bound: [NamePattern]?) -> Bool {
        guard let bound else { return false }
        guard let patterns else { return true }
        return !patterns.allSatisfy { pattern in bound.contains { $0.covers(pattern) } }
    }
}

extension GatewayShared {
    /// Something became of keys. Looks at all there are, so only for those that have quotas.
    fileprivate func refreshPolicies(_ keys: KeyRecord...) {
        if keys.contains(where: { $0.quotas != nil }) || !limits.modelQuotas.key.isEmpty { refreshPolicies() }
    }
}

extension KeyRecord {
    /// - Parameter now: milliseconds since 1970.
    func described(_ now: Int64) -> JSONValue {
        guard case .object(var members) = grant else { return .null }
        members["id"] = .string(id)
        members["created_at_ms"] = .integer(createdAt)
        if let tenant { members["tenant"] = .string(tenant) }
        if let expiresAt { members["expires_at_ms"] = .integer(expiresAt) }
        members["state"] = .string(isExpired(now) ? "expired" : "active")
        return .object(members)
    }

    fileprivate func shown(_ text: APIKey) -> JSONValue {
        guard case .object(var members) = described(createdAt) else { return .null }
        members["key"] = .string(text.text)
        return .object(members)
    }
}

// The routes of tenants: made, looked at, changed, suspended, deleted. Keys are in KeyRoutes.swift.
internal import Audit
package import Core
internal import HTTP
internal import Platform
internal import PluginHost
internal import Registry
internal import Scheduler
internal import Workers

extension Gateway {
    func listTenants(_ exchange: HTTPExchange, requestID: String) {
        let tenants = shared.registry.snapshot.tenants.values.sorted { $0.name < $1.name }
        answer(exchange, .object(["tenants": .array(tenants.map(\.described))]), requestID)
    }

    func showTenant(_ exchange: HTTPExchange, _ name: String, requestID: String) {
        guard let tenant = shared.registry.snapshot.tenants[name] else {
            return answer(exchange, Registry.noTenant(name), requestID: requestID)
        }
        answer(exchange, tenant.described, requestID)
    }

    /// POST: `{"name", "settings"?}`
    func createTenant(_ exchange: HTTPExchange, requestID: String) {
        readObject(exchange, known: ["name", "settings"], requestID) { gateway, members in
            gateway.change(exchange, requestID, status: 201) { shared throws(RuntimeError) in
                guard case .string(let name)? = members["name"] else {
                    throw Self.missing("name", "create a tenant", Names.rule)
                }
                try Tenant.validate(name)
                let settings = try members["settings"].map { value throws(RuntimeError) in
                    try TenantSettings(value, name: "settings", step: "create the tenant \(name)")
                }
                let tenant = Tenant(
                    name: name, createdAt: WallClock.milliseconds, settings: settings ?? TenantSettings())
                try shared.registry.createTenant(tenant)
                shared.refreshPolicies()
                return tenant.described
            }
        }
    }

    /// PATCH: `{"state": "active" or "suspended"}`, `{"settings": {…}}` (all of them, in place of the old), or both.
    func changeTenant(_ exchange: HTTPExchange, _ name: String, requestID: String) {
        readObject(exchange, known: ["state", "settings"], requestID) { gateway, members in
            gateway.change(exchange, requestID) { shared throws(RuntimeError) in
                let step = "change the tenant \(name)"
                var state: Tenant.State?
                switch members["state"] {
                case nil: break
                case .string("active"): state = .active
                case .string("suspended"): state = .suspended
                case let other?:
                    throw RuntimeError(
                        .badRequest, step: step, cause: "'state' is \(other.kind)",
                        next: "use \"active\" or \"suspended\"; DELETE deletes it")
                }
                let settings = try members["settings"].map { value throws(RuntimeError) in
                    try TenantSettings(value, name: "settings", step: step)
                }
                let changed = try shared.registry.changeTenant(name) { tenant in
                    if let state { tenant.state = state }
                    if let settings { tenant.settings = settings }
                }
                shared.refreshPolicies()
                // Idle workers of a tenant that is not served are only memory; those at work end what they do.
                if changed.state == .suspended { shared.dispatcher.outdate { $0.key.tenant == name } }
                return changed.described
            }
        }
    }

    func deleteTenant(_ exchange: HTTPExchange, _ name: String, requestID: String) {
        change(exchange, requestID) { shared throws(RuntimeError) in try shared.deleteTenant(name) }
    }

    // MARK: what routes of this kind share

    static func missing(_ key: String, _ step: String, _ expected: String) -> RuntimeError {
        RuntimeError(.badRequest, step: step, cause: "'\(key)' is missing", next: "add it: \(expected)")
    }

    func answer(_ exchange: HTTPExchange, _ value: JSONValue, _ requestID: String, status: Int = 200) {
        json(exchange, value.text, requestID, status: status)
    }

    /// Takes in a small body that is one JSON object with none but these members; no body is an empty one.
    func readObject(
        _ exchange: HTTPExchange, known: [String], _ requestID: String,
        then serve: @escaping (Gateway, [String: JSONValue]) -> Void
    ) {
        let step = "read the body"
        exchange.collectBody(limit: 64 << 10) { [weak self] result in
            guard let self else { return }
            do throws(RuntimeError) {
                switch result {
                case .failure(.interrupted): return
                case .failure(.tooLarge(let limit)):
                    throw RuntimeError(
                        .payloadTooLarge, step: step, cause: "it is larger than \(limit) bytes", next: "send less")
                case .success(let body):
                    let value = try body.isEmpty ? .object([:]) : JSON5.decode(body, step: step)
                    guard case .object(let members) = value else {
                        throw RuntimeError(
                            .badRequest, step: step, cause: "it is \(value.kind)", next: "send one JSON object")
                    }
                    if let other = members.keys.sorted().first(where: { !known.contains($0) }) {
                        throw RuntimeError(
                            .badRequest, step: step, cause: "unknown member \(Names.quoted(other))",
                            next: "use \(known.joined(separator: ", "))")
                    }
                    serve(self, members)
                }
            } catch {
                answer(exchange, error, requestID: requestID)
            }
        }
    }

    /// Does what blocks, such as writing to the registry, off the loop; then answers with what came of it.
    func change(
        _ exchange: HTTPExchange, _ requestID: String, status: Int = 200,
        _ work: @escaping @Sendable (GatewayShared) throws(RuntimeError) -> JSONValue
    ) {
        perform(exchange, requestID, status: status, work, told: { $0 }) { gateway, exchange, value in
            gateway.answer(exchange, value, requestID, status: status)
        }
    }

    /// The same for an act whose answer is no JSON: `told` is what the audit log may know of it.
    func perform<Value: Sendable>(
        _ exchange: HTTPExchange, _ requestID: String, status: Int,
        _ work: @escaping @Sendable (GatewayShared) throws(RuntimeError) -> Value,
        told: @escaping @Sendable (Value) -> JSONValue,
        answer: @escaping @Sendable (Gateway, HTTPExchange, Value) -> Void
    ) {
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        let act = act(exchange)
        shared.background.run { [shared] in
            let result: Result<Value, RuntimeError>
            do throws(RuntimeError) {
                if let refusal = shared.audit.refusal { throw refusal }
                result = .success(try work(shared))
            } catch {
                result = .failure(error)
            }
            // Nobody is answered before the act is on disk.
            shared.audit.record(act.answered(result.map(told), status: status)) { written in
                remote.submit { _ in
                    let (gateway, exchange) = own.value
                    switch written.audited(result) {
                    case .success(let value): answer(gateway, exchange, value)
                    case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                    }
                }
            }
        }
    }
}

/// A room that holds data of tenants.
package protocol TenantData: Sendable {
    /// What it holds, in a word.
    var name: String { get }
    /// Removes everything of a tenant for good; once more does no harm. Returns how many things went. Blocks.
    func erase(_ tenant: String) throws(RuntimeError) -> Int
}

extension GatewayShared {
    /// Deletes a tenant: nothing of it is served from here on, then its data goes, then its name. What is interrupted goes on
    /// after a restart. Blocks.
    package func deleteTenant(_ name: String) throws(RuntimeError) -> JSONValue {
        if registry.snapshot.tenants[name]?.state != .deleting {
            _ = try registry.changeTenant(name) { $0.state = .deleting }
        }
        dispatcher.outdate { $0.key.tenant == name }
        let functions = registry.snapshot.functions.keys.filter { $0.tenant == name }
        let gone = try registry.erase(name)
        for key in functions { log.forget(key) }
        var erased: [String: JSONValue] = [
            "functions": .integer(Int64(gone.functions)), "keys": .integer(Int64(gone.keys)),
        ]
        for room in tenantData { erased[room.name] = .integer(Int64(try room.erase(name))) }
        erased["artefacts"] = .integer(Int64(store.removeAll(of: name)))
        try registry.forgetTenant(name)
        refreshPolicies()
        return .object(["name": .string(name), "erased": .object(erased)])
    }

    /// Goes on with what a restart interrupted. Blocks.
    package func finishDeletions() {
        for tenant in registry.snapshot.tenants.values where tenant.state == .deleting || tenant.state == .importing {
            guard tenant.state == .deleting else {
                abandonImport(tenant.name, "the host ended in the middle of it")
                continue
            }
            do throws(RuntimeError) {
                _ = try deleteTenant(tenant.name)
                audit.record(
                    AuditEvent(
                        actor: "host", tenant: tenant.name, act: Route.deleteTenant.act,
                        target: "tenants/\(tenant.name)",
                        detail: "finished after a restart"))
                Log.info("a tenant's deletion was finished", [("tenant", tenant.name)])
            } catch {
                Log.error("a tenant can't be deleted", [("tenant", tenant.name), ("cause", "\(error)")])
            }
        }
    }
}

extension Tenant {
    var described: JSONValue {
        .object([
            "name": .string(name), "state": .string(state.rawValue), "created_at_ms": .integer(createdAt),
            "settings": settings.value,
        ])
    }
}

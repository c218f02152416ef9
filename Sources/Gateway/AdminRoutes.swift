// The routes that the command line uses. Deploying is in DeployRoute.swift, tenants and keys are in TenantRoutes.swift.
internal import Core
internal import HTTP
internal import Platform
internal import Registry
internal import Scheduler
internal import Signing
internal import Vault
internal import Workers

extension Gateway {
    /// Finds what is asked for, and lets it in or not.
    func admin(_ exchange: HTTPExchange, requestID: String) {
        let (method, path) = (exchange.request.method, exchange.request.path)
        switch RouteMatch.admin(method, path) {
        case .success(let match): admit(exchange, match, requestID: requestID)
        case .failure(.noSuchRoute):
            answer(
                exchange,
                RuntimeError(
                    .notFound, step: "admin \(method) \(path)", cause: "there is no such route",
                    next: "use a client of the same version as the host"), requestID: requestID)
        case .failure(.method(let allowed)):
            answer(
                exchange,
                RuntimeError(
                    .methodNotAllowed, step: "admin \(method) \(path)", cause: "this path has no \(method)",
                    next: "use \(allowed.joined(separator: " or "))"), requestID: requestID,
                adding: [("allow", allowed.joined(separator: ", "))])
        }
    }

    func serveAdmin(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) {
        let principal = exchange.caller.principal
        let tenant = match.tenant ?? ""
        let key = FunctionKey(tenant: tenant, name: match.names["function"] ?? "")
        guard principal.mayTouch(function: key.name) || match.names["function"] == nil else {
            return refuse(
                exchange, match, Authorization.forbidden(match.route, principal, tenant), requestID: requestID)
        }
        switch match.route {
        case .whoAmI: whoAmI(exchange, requestID: requestID)
        case .listFunctions: json(exchange, listFunctions(for: principal), requestID)
        case .listModels: listModels(exchange, requestID: requestID)
        case .setAlias, .removeAlias:
            changeAlias(
                exchange, model: match.names["model"] ?? "", alias: match.names["alias"] ?? "", requestID: requestID)
        case .listWorkers: json(exchange, listWorkers(), requestID)
        case .describeHost: json(exchange, describeHost(), requestID)
        case .readLog: json(exchange, listLog(key, exchange.request.query), requestID)
        case .showUsage: usage(exchange, match, requestID: requestID)
        case .deploy: deploy(exchange, tenant: tenant, name: nil, requestID: requestID)
        case .deployNamed: deploy(exchange, tenant: tenant, name: key.name, requestID: requestID)
        case .removeFunction: remove(exchange, key, requestID: requestID)
        case .readBillOfMaterials: billOfMaterials(exchange, key, requestID: requestID)
        case .listTrustedKeys, .listPlatformTrustedKeys:
            listTrustedKeys(exchange, TrustScope(match.tenant), requestID: requestID)
        case .trustKey, .trustPlatformKey:
            trustKey(exchange, match.names["keyid"] ?? "", TrustScope(match.tenant), requestID: requestID)
        case .distrustKey, .distrustPlatformKey:
            distrustKey(exchange, match.names["keyid"] ?? "", TrustScope(match.tenant), requestID: requestID)
        case .setUnsigned: setUnsigned(exchange, of: tenant, requestID: requestID)
        case .listAudit, .listTenantAudit: listAudit(exchange, of: match.tenant, requestID: requestID)
        case .showAuditHead: showAuditHead(exchange, requestID: requestID)
        case .verifyAudit: verifyAudit(exchange, requestID: requestID)
        case .listTenants: listTenants(exchange, requestID: requestID)
        case .createTenant: createTenant(exchange, requestID: requestID)
        case .showTenant: showTenant(exchange, tenant, requestID: requestID)
        case .changeTenant: changeTenant(exchange, tenant, requestID: requestID)
        case .deleteTenant: deleteTenant(exchange, tenant, requestID: requestID)
        case .exportTenant: exportTenant(exchange, match, requestID: requestID)
        case .importTenant: importTenant(exchange, match, requestID: requestID)
        case .listKeys, .listPlatformKeys: listKeys(exchange, of: match.tenant, requestID: requestID)
        case .createKey, .createPlatformKey: createKey(exchange, for: match.tenant, requestID: requestID)
        case .changeKey, .changePlatformKey:
            changeKey(exchange, match.names["key"] ?? "", of: match.tenant, requestID: requestID)
        case .rotateKey, .rotatePlatformKey:
            rotateKey(exchange, match.names["key"] ?? "", of: match.tenant, requestID: requestID)
        case .revokeKey, .revokePlatformKey:
            revokeKey(exchange, match.names["key"] ?? "", of: match.tenant, requestID: requestID)
        case .listSecrets, .listFunctionSecrets:
            listSecrets(exchange, of: tenant, function: match.names["function"], requestID: requestID)
        case .setSecret, .setFunctionSecret: setSecret(exchange, match.secret, requestID: requestID)
        case .removeSecret, .removeFunctionSecret: removeSecret(exchange, match.secret, requestID: requestID)
        case .rotateDataKey: rotateDataKey(exchange, of: tenant, requestID: requestID)
        case .health, .ready, .tensorHealth, .openAPI, .function, .chatCompletions, .completions, .embeddings, .rerank,
            .tokenize, .detokenize, .messages, .countTokens, .otherMessages, .responses, .otherResponses, .models,
            .tensors, .metrics:
            preconditionFailure("\(match.route) is served elsewhere")
        }
    }

    func json(_ exchange: HTTPExchange, _ body: String, _ requestID: String, status: Int = 200) {
        text(exchange, status, body + "\n", requestID, type: "application/json")
    }

    /// What a caller may see: a tenant its own, the platform everything.
    private func listFunctions(for principal: Principal) -> String {
        let snapshot = shared.registry.snapshot
        let own = snapshot.functions.values.filter {
            principal.may(.read, in: $0.tenant) && principal.mayTouch(function: $0.name)
        }
        let models = principal.tenant == nil ? Array(snapshot.models.values) : []
        let all =
            own.sorted { ($0.tenant, $0.name) < ($1.tenant, $1.name) } + models.sorted { $0.name < $1.name }
        return JSONValue.object(["functions": .array(all.map(\.described))]).text
    }

    private func listWorkers() -> String {
        let now = MonotonicTime.now
        let rows = shared.host.workers.sorted { $0.number < $1.number }.map { worker in
            jsonObject([
                ("tenant", .text(worker.spec.key.tenant)), ("name", .text(worker.spec.key.name)),
                ("kind", .text("\(worker.spec.purpose)")), ("pid", .number(Int64(worker.pid))),
                ("memory_bytes", .number(Int64(ProcessMemory.resident(of: worker.pid)))),
                ("age_ms", .number(Int64(now.since(worker.startedAt) / 1_000_000))),
            ])
        }
        return "{\"workers\":[" + rows.joined(separator: ",") + "],\"adopted_zygotes\":\(shared.host.adoptedZygotes)}"
    }

    private func describeHost() -> String {
        let layers = shared.host.layers
        let missing = layers?.missing ?? SandboxLayers.names
        let rows = SandboxLayers.names.map { name in
            jsonObject([("name", .text(name)), ("in_force", .literal(missing.contains(name) ? "false" : "true"))])
        }
        return "{\"ready\":\(layers != nil),\"cgroup_version\":\(layers?.cgroupVersion ?? 0),\"layers\":["
            + rows.joined(separator: ",") + "]}"
    }

    private func listLog(_ key: FunctionKey, _ query: String) -> String {
        let after =
            query.split(separator: "&").first { $0.hasPrefix("after=") }.flatMap { UInt64($0.dropFirst(6)) } ?? 0
        let rows = shared.log.lines(key, after: after).map { line in
            jsonObject([
                ("sequence", .number(Int64(line.sequence))), ("time_ms", .number(line.unixMilliseconds)),
                ("level", .number(Int64(line.level))), ("request_id", .text(line.requestID)),
                ("text", .text(line.text)),
            ])
        }
        return "{\"lines\":[" + rows.joined(separator: ",") + "]}"
    }

    private func remove(_ exchange: HTTPExchange, _ key: FunctionKey, requestID: String) {
        change(exchange, requestID) { shared throws(RuntimeError) in
            let kind: PluginKind = key.tenant == Deployment.platform ? .backend : .handler
            guard let gone = try shared.registry.remove(key, kind: kind) else {
                throw RuntimeError(
                    .notFound, step: "remove \(key)", cause: "no such function is deployed", next: "see `swiftlet ls`")
            }
            shared.refreshModels()
            shared.dispatcher.outdate { $0.key == key }
            shared.log.forget(key)
            return gone.described
        }
    }
}

extension Deployment {
    var described: JSONValue {
        var members: [String: JSONValue] = [
            "tenant": .string(tenant), "name": .string(name), "kind": .string(kind.rawValue),
            "version": .string(manifest.version), "digest": .string(digest), "created_at_ms": .integer(createdAt),
        ]
        if let model = files.first(where: { $0.name == manifest.model }) {
            members["model_sha256"] = .string(model.sha256)
        }
        members["signed_by"] = signer.map(JSONValue.string) ?? .null
        if kind == .handler { members["access"] = .string(manifest.access.rawValue) }
        return .object(members)
    }
}

extension RouteMatch {
    fileprivate var secret: SecretPlace {
        SecretPlace(tenant: tenant ?? "", function: names["function"], name: names["secret"] ?? "")
    }
}

/// A value in a hand-written JSON object.
enum JSONField {
    case text(String)
    case number(Int64)
    case literal(String)
}

func jsonObject(_ fields: [(String, JSONField)]) -> String {
    var bytes: [UInt8] = [UInt8(ascii: "{")]
    for (index, (name, value)) in fields.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        appendJSON(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        switch value {
        case .text(let text): appendJSON(text, to: &bytes)
        case .number(let number): bytes.append(contentsOf: String(number).utf8)
        case .literal(let literal): bytes.append(contentsOf: literal.utf8)
        }
    }
    bytes.append(UInt8(ascii: "}"))
    return String(decoding: bytes, as: UTF8.self)
}

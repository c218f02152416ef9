// The routes that the command line uses; loopback callers only. Deploying is in DeployRoute.swift.
internal import Core
internal import HTTP
internal import Platform
internal import Registry
internal import Scheduler
internal import Workers

extension Gateway {
    func admin(_ exchange: HTTPExchange, requestID: String) {
        guard exchange.request.peerIsLoopback else {
            return answer(
                exchange,
                RuntimeError(
                    .forbidden, step: "admin", cause: "admin routes answer callers on this machine only",
                    next: "run the command on the host, or through an SSH tunnel"), requestID: requestID)
        }
        let parts = exchange.request.path.split(separator: "/").dropFirst(2).map(String.init)
        switch (exchange.request.method, parts.first, parts.count) {
        case ("GET", "functions", 1): json(exchange, listFunctions(), requestID)
        case ("GET", "models", 1): listModels(exchange, requestID: requestID)
        case ("PUT", "models", 4) where parts[2] == "aliases", ("DELETE", "models", 4) where parts[2] == "aliases":
            changeAlias(exchange, model: parts[1], alias: parts[3], requestID: requestID)
        case ("GET", "workers", 1): json(exchange, listWorkers(), requestID)
        case ("GET", "usage", 1): usage(exchange, requestID: requestID)
        case ("GET", "host", 1): json(exchange, describeHost(), requestID)
        case ("GET", "logs", 3):
            json(exchange, listLog(FunctionKey(tenant: parts[1], name: parts[2]), exchange.request.query), requestID)
        case ("POST", "deployments", 2): deploy(exchange, tenant: parts[1], name: nil, requestID: requestID)
        case ("POST", "deployments", 3): deploy(exchange, tenant: parts[1], name: parts[2], requestID: requestID)
        case ("DELETE", "functions", 3):
            remove(exchange, FunctionKey(tenant: parts[1], name: parts[2]), requestID: requestID)
        default:
            answer(
                exchange,
                RuntimeError(
                    .notFound, step: "admin \(exchange.request.method) \(exchange.request.path)",
                    cause: "there is no such route",
                    next: "use a client of the same version as the host"), requestID: requestID)
        }
    }

    func json(_ exchange: HTTPExchange, _ body: String, _ requestID: String, status: Int = 200) {
        text(exchange, status, body + "\n", requestID, type: "application/json")
    }

    private func listFunctions() -> String {
        let snapshot = shared.registry.snapshot
        let all =
            snapshot.functions.values.sorted { ($0.tenant, $0.name) < ($1.tenant, $1.name) }
            + snapshot.models.values.sorted { $0.name < $1.name }
        return "{\"functions\":[" + all.map(Self.describe).joined(separator: ",") + "]}"
    }

    static func describe(_ deployment: Deployment) -> String {
        var fields: [(String, JSONField)] = [
            ("tenant", .text(deployment.tenant)), ("name", .text(deployment.name)),
            ("kind", .text(deployment.kind.rawValue)),
            ("version", .text(deployment.manifest.version)), ("digest", .text(deployment.digest)),
            ("created_at_ms", .number(deployment.createdAt)),
        ]
        if let model = deployment.files.first(where: { $0.name == deployment.manifest.model }) {
            fields.append(("model_sha256", .text(model.sha256)))
        }
        return jsonObject(fields)
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
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.background.run { [shared] in
            let result = Self.remove(key, from: shared)
            remote.submit { _ in
                let (gateway, exchange) = own.value
                switch result {
                case .success(let deployment): gateway.json(exchange, Self.describe(deployment), requestID)
                case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                }
            }
        }
    }

    private static func remove(_ key: FunctionKey, from shared: GatewayShared) -> Result<Deployment, RuntimeError> {
        do throws(RuntimeError) {
            let kind: PluginKind = key.tenant == Deployment.platform ? .backend : .handler
            guard let gone = try shared.registry.remove(key, kind: kind) else {
                throw RuntimeError(
                    .notFound, step: "remove \(key)", cause: "no such function is deployed", next: "see `swiftlet ls`")
            }
            shared.refreshModels()
            shared.dispatcher.outdate { $0.key == key }
            shared.log.forget(key)
            return .success(gone)
        } catch {
            return .failure(error)
        }
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

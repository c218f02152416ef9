// The door: one Gateway a loop finds the route of each request; FunctionCall.swift and AdminRoutes.swift come next.
internal import Core
package import HTTP
internal import Inference
package import Platform
internal import PluginHost
internal import Registry
internal import Workers

package final class Gateway: HTTPService {
    package let shared: GatewayShared
    package let loop: EventLoop
    let packets = PacketBuffer()
    var parser = JSONParser()
    var limitPaths: LimitPaths
    /// What exists, by its number, and what to start for the functions of it that were called.
    private var snapshot: RegistrySnapshot
    private var revision: UInt64
    private var specs: [FunctionKey: (deployment: Deployment, worker: WorkerSpec)] = [:]

    package init(_ shared: GatewayShared, loop: EventLoop) {
        self.shared = shared
        self.loop = loop
        revision = shared.registry.revision
        snapshot = shared.registry.snapshot
        limitPaths = LimitPaths(shared.limits, snapshot)
    }

    /// What exists now. One request asks once, so that it meets one state of things throughout.
    func current() -> RegistrySnapshot {
        let newest = shared.registry.revision
        if newest != revision {
            (revision, snapshot) = (newest, shared.registry.snapshot)
            specs = [:]
        }
        return snapshot
    }

    package func begin(_ exchange: HTTPExchange) {
        shared.count { $0.requests += 1 }
        let number = shared.requestIDs.number()
        let requestID = shared.requestIDs.name(exchange.request.headers.first("x-request-id"), number: number)
        let path = exchange.request.path
        if path.hasPrefix("/fn/") { return callFunction(exchange, number: number, requestID: requestID) }
        if path.hasPrefix("/admin/") { return admin(exchange, requestID: requestID) }
        guard let route = Self.plainRoute(path) else {
            return answer(
                exchange,
                RuntimeError(
                    .notFound, step: "route \(exchange.request.method) \(path)", cause: "there is no such route",
                    next:
                        "functions are at /fn/{tenant}/{function}/, models at /v1/chat/completions and /v2/models/{model}/infer"
                ),
                requestID: requestID)
        }
        admit(exchange, RouteMatch(route: route, names: [:]), requestID: requestID)
    }

    private static func plainRoute(_ path: String) -> Route? {
        switch path {
        case "/v1/chat/completions": .chatCompletions
        case "/v1/completions": .completions
        case "/v1/embeddings": .embeddings
        case "/v1/rerank": .rerank
        case "/tokenize": .tokenize
        case "/detokenize": .detokenize
        case "/v1/messages": .messages
        case "/v1/messages/count_tokens": .countTokens
        case "/v1/responses": .responses
        case "/v1/models": .models
        case "/healthz": .health
        case "/readyz": .ready
        case "/metrics": .metrics
        case "/openapi.json": .openAPI
        case _ where path.hasPrefix("/v1/messages/"): .otherMessages
        case _ where path.hasPrefix("/v1/responses/"): .otherResponses
        case _ where path.hasPrefix("/v2/health/"): .tensorHealth
        case _ where path == "/v2" || path.hasPrefix("/v2/"): .tensors
        default: nil
        }
    }

    /// Lets a request in, or answers why not; `serve` is next.
    func admit(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) {
        let current = current()
        let principal: Principal
        if case .everybody = match.route.access {
            principal = .anonymous
        } else {
            switch shared.authenticator.principal(of: exchange.request, in: current) {
            case .failure(let fault): return refuse(exchange, match, fault, requestID: requestID)
            case .success(let known): principal = known
            }
        }
        exchange.context = Caller(route: match.route, requestID: requestID, principal: principal)
        if let refusal = Authorization.refusal(match.route, principal, tenant: match.tenant)
            ?? suspended(match, principal, in: current)
        {
            return refuse(exchange, match, refusal, requestID: requestID)
        }
        if let tenant = limitedTenant(exchange, match.route, principal),
            let refusal = enter(exchange, current, tenant: tenant)
        {
            return refuse(exchange, match, refusal, requestID: requestID)
        }
        serve(exchange, match, requestID: requestID)
    }

    private func serve(_ exchange: HTTPExchange, _ match: RouteMatch, requestID: String) {
        switch match.route {
        case .chatCompletions: completions(exchange, kind: .chat, requestID: requestID)
        case .completions: completions(exchange, kind: .text, requestID: requestID)
        case .embeddings: embeddings(exchange, requestID: requestID)
        case .rerank: rerank(exchange, requestID: requestID)
        case .tokenize: tokenize(exchange, requestID: requestID)
        case .detokenize: detokenize(exchange, requestID: requestID)
        case .messages: messages(exchange, requestID: requestID)
        case .countTokens: countTokens(exchange, requestID: requestID)
        case .responses: responses(exchange, requestID: requestID)
        case .otherMessages: noSuchMessages(exchange, requestID: requestID)
        case .otherResponses: noSuchResponse(exchange, requestID: requestID)
        case .models: models(exchange, requestID: requestID)
        case .tensors, .tensorHealth: tensors(exchange, requestID: requestID)
        case .health: text(exchange, 200, "ok\n", requestID)
        case .ready:
            let ready = shared.host.layers != nil && !shared.isDraining
            text(exchange, ready ? 200 : 503, ready ? "ready\n" : "starting or draining\n", requestID)
        case .metrics: metrics(exchange, requestID: requestID)
        case .openAPI: openAPI(exchange, requestID: requestID)
        default: serveAdmin(exchange, match, requestID: requestID)
        }
    }

    private func callFunction(_ exchange: HTTPExchange, number: UInt64, requestID: String) {
        guard let path = FunctionPath(exchange.request.path) else {
            return answer(exchange, Self.noFunction(exchange.request.path), requestID: requestID)
        }
        guard shared.authenticator.finds(path.key.tenant, by: exchange.request) else {
            return answer(exchange, Self.noFunction("\(path.key)"), requestID: requestID)
        }
        // Made for refusals only.
        var match: RouteMatch { RouteMatch(route: .function, names: ["tenant": path.key.tenant]) }
        let current = current()
        let found = function(path.key, in: current)
        let principal: Principal
        switch shared.authenticator.principal(of: exchange.request, in: current) {
        case .success(let known): principal = known
        case .failure(let fault):
            // What it shows may be for the function itself, when that is open to everybody.
            guard !fault.isOurs, found?.deployment.manifest.access == .everybody else {
                return refuse(exchange, match, fault, requestID: requestID)
            }
            principal = .anonymous
        }
        exchange.context = Caller(route: .function, requestID: requestID, principal: principal)
        if let refusal = Authorization.refusal(path.key, found?.deployment.manifest.access, principal) {
            return refuse(exchange, match, refusal, requestID: requestID)
        }
        guard let (deployment, spec, isReady) = found else {
            return answer(exchange, Self.noFunction("\(path.key)"), requestID: requestID)
        }
        guard current.isServed(path.key.tenant) else {
            return refuse(exchange, match, Self.isSuspended(path.key.tenant), requestID: requestID)
        }
        guard isReady else { return unseal(deployment, exchange, number: number, requestID: requestID) }
        if let refusal = enter(exchange, current, tenant: path.key.tenant, function: deployment) {
            return refuse(exchange, match, refusal, requestID: requestID)
        }
        let call = FunctionCall(
            exchange, gateway: self, deployment: deployment, spec: spec, path: path.below, number: number,
            requestID: requestID)
        call.begin()
    }

    /// What is deployed under this name, and what to start for it.
    private func function(_ key: FunctionKey, in current: RegistrySnapshot)
        -> (deployment: Deployment, worker: WorkerSpec, isReady: Bool)?
    {
        if let known = specs[key] { return (known.deployment, known.worker, true) }
        guard let deployment = current.functions[key] else { return nil }
        let found = (deployment, shared.spec(for: deployment))
        let isReady = shared.store.sealed?.isReady(deployment) ?? true
        if isReady { specs[key] = found }
        return (found.0, found.1, isReady)
    }

    /// The first call since the host started: the plain copy of the artefact is made, and the call goes on.
    private func unseal(_ deployment: Deployment, _ exchange: HTTPExchange, number: UInt64, requestID: String) {
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.files.run { [shared] in
            let result = Result { () throws(RuntimeError) in try shared.store.sealed?.unseal(deployment) }
            remote.submit { _ in
                let (gateway, exchange) = own.value
                guard !exchange.isOver else { return }
                switch result {
                case .success: gateway.callFunction(exchange, number: number, requestID: requestID)
                case .failure(let error):
                    Log.error(
                        "an artefact can't be opened", [("function", "\(deployment.key)"), ("cause", "\(error)")])
                    gateway.answer(exchange, error, requestID: requestID)
                }
            }
        }
    }

    private static func noFunction(_ name: String) -> RuntimeError {
        RuntimeError(
            .notFound, step: "find the function \(name)", cause: "no such function is deployed",
            next: "see `swiftlet ls`, or deploy it with `swiftlet deploy DIR`")
    }

    // MARK: answers

    func text(_ exchange: HTTPExchange, _ status: Int, _ body: String, _ requestID: String, type: String = "text/plain")
    {
        exchange.respond(status: status, headers: standardHeaders(exchange, type, requestID), body: Array(body.utf8))
    }

    /// What every answer made here carries.
    func standardHeaders(_ exchange: HTTPExchange, _ type: String, _ requestID: String) -> HTTPHeaders {
        headers(ServerTiming.immediate(exchange), type, requestID)
    }

    func headers(_ timing: ServerTiming, _ type: String, _ requestID: String) -> HTTPHeaders {
        var headers: HTTPHeaders = ["content-type": type, "x-request-id": requestID]
        timing.append(to: &headers)
        return headers
    }

    /// Serves one host call of a handler. Returns how to give it up.
    func hostCall(
        _ name: String, payload: [UInt8], caller: Deployment, origin: CallOrigin,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) -> () -> Void {
        if name == "model.chat" { return callModel(payload, caller: caller, origin: origin, reply: reply) }
        if name == "model.embed" { return callEmbed(payload, caller: caller, origin: origin, reply: reply) }
        if name == "model.infer" { return callTensors(payload, caller: caller, origin: origin, reply: reply) }
        if name == "secret.get" { return callSecret(payload, caller: caller, reply: reply) }
        let message = jsonObject([
            ("type", .text("unknown_call")), ("message", .text("this host offers no call named \(name)")),
        ])
        reply(Array("{\"error\":\(message)}".utf8), true, true)
        return {}
    }
}

/// `/fn/{tenant}/{function}`, and what is below.
private struct FunctionPath {
    let key: FunctionKey
    let below: String

    init?(_ path: String) {
        let bytes = unsafe path.utf8Span.span.bytes
        guard let tenantEnd = Self.slash(in: path, from: 4) else { return nil }
        let nameEnd = Self.slash(in: path, from: tenantEnd + 1) ?? bytes.byteCount
        key = FunctionKey(tenant: bytes.text(in: 4..<tenantEnd), name: bytes.text(in: (tenantEnd + 1)..<nameEnd))
        below = nameEnd < bytes.byteCount ? bytes.text(in: nameEnd..<bytes.byteCount) : "/"
    }

    private static func slash(in path: String, from start: Int) -> Int? {
        let bytes = path.utf8Span.span
        return (start..<bytes.count).first { bytes[$0] == UInt8(ascii: "/") }
    }
}

// The door: one Gateway a loop finds the route of each request; FunctionCall.swift and AdminRoutes.swift come next.
internal import Core
package import HTTP
internal import Inference
package import Platform
internal import Registry
internal import Workers

package final class Gateway: HTTPService {
    package let shared: GatewayShared
    package let loop: EventLoop
    let packets = PacketBuffer()
    var parser = JSONParser()
    /// What is deployed, and what to start for the functions of it that were called.
    private var snapshot: RegistrySnapshot
    private var specs: [FunctionKey: (deployment: Deployment, worker: WorkerSpec)] = [:]

    package init(_ shared: GatewayShared, loop: EventLoop) {
        self.shared = shared
        self.loop = loop
        snapshot = shared.registry.snapshot
    }

    package func begin(_ exchange: HTTPExchange) {
        shared.count { $0.requests += 1 }
        let number = shared.requestIDs.number()
        let requestID = shared.requestIDs.name(exchange.request.headers.first("x-request-id"), number: number)
        let path = exchange.request.path
        if path.hasPrefix("/fn/") { return callFunction(exchange, number: number, requestID: requestID) }
        if path.hasPrefix("/admin/v1/") { return admin(exchange, requestID: requestID) }
        if path == "/v2" || path.hasPrefix("/v2/") { return tensors(exchange, requestID: requestID) }
        switch path {
        case "/v1/chat/completions": completions(exchange, kind: .chat, requestID: requestID)
        case "/v1/completions": completions(exchange, kind: .text, requestID: requestID)
        case "/v1/embeddings": embeddings(exchange, requestID: requestID)
        case "/v1/rerank": rerank(exchange, requestID: requestID)
        case "/tokenize": tokenize(exchange, requestID: requestID)
        case "/detokenize": detokenize(exchange, requestID: requestID)
        case "/v1/messages": messages(exchange, requestID: requestID)
        case "/v1/messages/count_tokens": countTokens(exchange, requestID: requestID)
        case "/v1/responses": responses(exchange, requestID: requestID)
        case _ where path.hasPrefix("/v1/messages/"): noSuchMessages(exchange, requestID: requestID)
        case _ where path.hasPrefix("/v1/responses/"): noSuchResponse(exchange, requestID: requestID)
        case "/v1/models": models(exchange, requestID: requestID)
        case "/healthz": text(exchange, 200, "ok\n", requestID)
        case "/readyz":
            let ready = shared.host.layers != nil && !shared.isDraining
            text(exchange, ready ? 200 : 503, ready ? "ready\n" : "starting or draining\n", requestID)
        case "/metrics": metrics(exchange, requestID: requestID)
        default:
            answer(
                exchange,
                RuntimeError(
                    .notFound, step: "route \(exchange.request.method) \(path)", cause: "there is no such route",
                    next:
                        "functions are at /fn/{tenant}/{function}/, models at /v1/chat/completions and /v2/models/{model}/infer"
                ),
                requestID: requestID)
        }
    }

    private func callFunction(_ exchange: HTTPExchange, number: UInt64, requestID: String) {
        guard let path = FunctionPath(exchange.request.path) else {
            return answer(exchange, Self.noFunction(exchange.request.path), requestID: requestID)
        }
        guard let (deployment, spec) = function(path.key) else {
            return answer(exchange, Self.noFunction("\(path.key)"), requestID: requestID)
        }
        let call = FunctionCall(
            exchange, gateway: self, deployment: deployment, spec: spec, path: path.below, number: number,
            requestID: requestID)
        call.begin()
    }

    /// What is deployed under this name, and what to start for it.
    private func function(_ key: FunctionKey) -> (deployment: Deployment, worker: WorkerSpec)? {
        let current = shared.registry.snapshot
        if current !== snapshot {
            snapshot = current
            specs = [:]
        }
        if let known = specs[key] { return known }
        guard let deployment = current.functions[key] else { return nil }
        let found = (deployment, shared.spec(for: deployment))
        specs[key] = found
        return found
    }

    private static func noFunction(_ name: String) -> RuntimeError {
        RuntimeError(
            .notFound, step: "find the function \(name)", cause: "no such function is deployed",
            next: "see `swiftlet ls`, or deploy it with `swiftlet deploy DIR`")
    }

    // MARK: answers

    /// Answers with an error as JSON: `{"error":{"code","step","cause","next","request_id"}}`.
    func answer(_ exchange: HTTPExchange, _ error: RuntimeError, requestID: String) {
        var body: [UInt8] = Array(#"{"error":{"code":"#.utf8)
        for (label, value) in [
            ("", error.code.name), (#","step":"#, error.step), (#","cause":"#, error.cause), (#","next":"#, error.next),
            (#","request_id":"#, requestID),
        ] {
            body.append(contentsOf: label.utf8)
            appendJSON(value, to: &body)
        }
        body.append(contentsOf: "}}\n".utf8)
        var headers = standardHeaders(exchange, "application/json", requestID)
        if [.queueFull, .unavailable, .crashLoop].contains(error.code) { _ = headers.append("retry-after", "1") }
        exchange.respond(status: error.httpStatus, headers: headers, body: body)
    }

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

// The OpenAI routes, and the same models as host calls of handlers; Inference does the work on its own loop.
internal import Core
internal import FoundationEssentials
internal import HTTP
internal import Inference
internal import Platform

extension Gateway {
    /// The largest body of an OpenAI request.
    private static let requestLimit = 8 << 20

    func models(_ exchange: HTTPExchange, requestID: String) {
        exchange.respond(
            status: 200, headers: standardHeaders(exchange, "application/json", requestID),
            body: OpenAIWriter.models(shared.inference.models))
    }

    func completions(_ exchange: HTTPExchange, kind: AnswerHead.Kind, requestID: String) {
        readPost(exchange, requestID) { $0.begin(exchange, kind: kind, body: $1, requestID: requestID) }
    }

    /// Takes in the body of a request for a model; what is none is answered here.
    func readPost(
        _ exchange: HTTPExchange, _ requestID: String, then serve: @escaping (Gateway, _ body: [UInt8]) -> Void
    ) {
        guard exchange.request.method == "POST" else {
            return answer(
                exchange, OpenAIError(status: 405, type: "invalid_request_error", message: "use POST"), requestID)
        }
        exchange.collectBody(limit: Self.requestLimit) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(.interrupted): return
            case .failure(.tooLarge(let limit)):
                answer(
                    exchange,
                    OpenAIError(
                        status: 413, type: "invalid_request_error", message: "the body is larger than \(limit) bytes"),
                    requestID)
            case .success(let body): serve(self, body)
            }
        }
    }

    private func begin(_ exchange: HTTPExchange, kind: AnswerHead.Kind, body: [UInt8], requestID: String) {
        do throws(OpenAIError) {
            let work = try readWork(kind, body)
            let answer = ModelAnswer(
                exchange, head: head(kind, model: work.model), options: work.options, requestID: requestID,
                gateway: self)
            let own = LoopBound(answer, on: loop)
            let remote = loop.remote
            let caching = try caching(exchange) { own.value.outcome = $0 }
            let handles = work.start(shared.inference, try tenant(of: exchange), caching) { choice, event in
                remote.submit { _ in own.value.receive(event, choice) }
            }
            answer.giveUp = { for handle in handles { handle.cancel() } }
            exchange.onClose = answer.giveUp
        } catch {
            answer(exchange, error, requestID)
        }
    }

    /// Whose request it is. Callers on this machine may say it, which is for proxies and tests; everybody else is `public`.
    func tenant(of exchange: HTTPExchange) throws(OpenAIError) -> String {
        guard exchange.request.peerIsLoopback, let name = exchange.request.headers.first("x-swiftlet-tenant") else {
            return "public"
        }
        guard Names.isValid(name) else {
            throw .invalid(nil, "x-swiftlet-tenant: not the name of a tenant; use \(Names.rule)", code: "invalid_value")
        }
        return name
    }

    /// A request that was read, whichever of the two shapes it had.
    private struct Work {
        let model: String
        let options: GenerationOptions
        let start: (InferenceService, _ tenant: String, ResponseCaching?, @escaping ChoiceSink) -> [GenerationHandle]
    }

    private func readWork(_ kind: AnswerHead.Kind, _ body: [UInt8]) throws(OpenAIError) -> Work {
        switch kind {
        case .chat:
            let request = try ChatRequest(body.span, parser: &parser)
            return Work(model: request.model, options: request.options) {
                $0.chat(request, tenant: $1, caching: $2, deliver: $3)
            }
        case .text:
            let request = try CompletionRequest(body.span, parser: &parser)
            return Work(model: request.model, options: request.options) {
                $0.complete(request, tenant: $1, caching: $2, deliver: $3)
            }
        }
    }

    private func head(_ kind: AnswerHead.Kind, model: String) -> AnswerHead {
        let id = shared.requestIDs.name(nil, number: shared.requestIDs.number()).dropFirst(4)
        return AnswerHead(
            kind: kind, id: (kind == .chat ? "chatcmpl-" : "cmpl-") + id, created: Int64(Date().timeIntervalSince1970),
            model: model)
    }

    func answer(_ exchange: HTTPExchange, _ error: OpenAIError, _ requestID: String) {
        var headers = standardHeaders(exchange, "application/json", requestID)
        if let wait = error.retryAfterMilliseconds {
            _ = headers.append("retry-after", "\((wait + 999) / 1000)")
            _ = headers.append("retry-after-ms", "\(wait)")
        }
        // What no waiting mends is not to be tried again, whatever the status says to a client.
        if error.code == "insufficient_quota" { _ = headers.append("x-should-retry", "false") }
        append(error.standing, to: &headers)
        exchange.respond(status: error.status, headers: headers, body: error.body)
    }

    /// A handler may call the models that its manifest names.
    func checkAllowed(_ model: String, _ caller: Deployment) throws(OpenAIError) {
        guard !caller.manifest.models.contains(model) else { return }
        throw OpenAIError(
            status: 403, type: "permission_error", code: "model_not_allowed", param: "model",
            message: "\(caller.key) may not call the model \(model); name it in `models` of its manifest")
    }

    /// OpenAI's rate-limit headers, of the quota that is nearest to its end.
    func append(_ standing: QuotaStanding?, to headers: inout HTTPHeaders) {
        guard let standing else { return }
        _ = headers.append("x-ratelimit-limit-tokens", "\(standing.limit)")
        _ = headers.append("x-ratelimit-remaining-tokens", "\(standing.remaining)")
        guard let reset = standing.resetMilliseconds else { return }
        _ = headers.append("x-ratelimit-reset-tokens", "\(Double(reset) / 1000)s")
    }

    /// Host call `model.chat`: the request is that of the OpenAI route. Returns how to give it up.
    func callModel(
        _ payload: [UInt8], caller: Deployment,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) -> () -> Void {
        do throws(OpenAIError) {
            let work = try readWork(.chat, payload)
            try checkAllowed(work.model, caller)
            let relay = LoopBound(
                HostCallRelay(head: head(.chat, model: work.model), options: work.options, reply: reply), on: loop)
            let remote = loop.remote
            let handles = work.start(shared.inference, caller.tenant, nil) { choice, event in
                remote.submit { _ in relay.value.receive(event, choice) }
            }
            relay.value.giveUp = { for handle in handles { handle.cancel() } }
            return relay.value.giveUp
        } catch {
            reply(error.body, true, true)
            return {}
        }
    }
}

/// Turns the events of one request into an HTTP answer, streamed or whole.
private final class ModelAnswer {
    private let exchange: HTTPExchange
    private let requestID: String
    private let streams: Bool
    private var stream: StreamWriter
    private var collector: AnswerCollector
    private unowned let gateway: Gateway
    private var standing: QuotaStanding?
    /// What the response cache said, when it was asked.
    var outcome: ResponseCaching.Outcome?
    /// Ends all answers of the request: when one fails, nobody reads the others.
    var giveUp = {}

    init(_ exchange: HTTPExchange, head: AnswerHead, options: GenerationOptions, requestID: String, gateway: Gateway) {
        self.exchange = exchange
        self.requestID = requestID
        self.gateway = gateway
        streams = options.stream
        stream = StreamWriter(head, options: options)
        collector = AnswerCollector(head, options: options)
    }

    func receive(_ event: GenerationEvent, _ choice: Int) {
        if case .started(_, let standing) = event { self.standing = standing }
        if streams { receiveStreaming(event, choice) } else { receiveWhole(event, choice) }
        if case .failed = event { giveUp() }
    }

    private func receiveStreaming(_ event: GenerationEvent, _ choice: Int) {
        guard !stream.isOver else { return }
        let bytes = stream.write(event, choice: choice)
        if case .failed(let error) = event, !exchange.hasStarted { return gateway.answer(exchange, error, requestID) }
        if !bytes.isEmpty {
            if !exchange.hasStarted {
                // The total of a stream is the time until its first event.
                var headers = gateway.standardHeaders(exchange, StreamWriter.contentType, requestID)
                _ = headers.append("cache-control", "no-store")
                gateway.append(standing, to: &headers)
                gateway.append(outcome, to: &headers)
                exchange.start(status: 200, headers: headers)
            }
            exchange.write(bytes)
        }
        if stream.isOver { exchange.finish() }
    }

    private func receiveWhole(_ event: GenerationEvent, _ choice: Int) {
        switch collector.add(event, choice: choice) {
        case nil: return
        case .failure(let error): gateway.answer(exchange, error, requestID)
        case .success(let body):
            let timings = collector.timings
            var timing = ServerTiming()
            timing.add("queue", timings.queue)
            if timings.load > 0 { timing.add("load", timings.load) }
            timing.add("model", timings.prefill + timings.decode)
            timing.add("prefill", timings.prefill)
            timing.add("decode", timings.decode)
            timing.addTotal(exchange)
            var headers = gateway.headers(timing, "application/json", requestID)
            gateway.append(standing, to: &headers)
            gateway.append(outcome, to: &headers)
            exchange.respond(status: 200, headers: headers, body: body)
        }
    }
}

/// Turns the events of one request into the replies of a host call: whole JSON objects, without event-stream framing.
private final class HostCallRelay {
    private let streams: Bool
    private var stream: StreamWriter
    private var collector: AnswerCollector
    private let reply: (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    /// Ends all answers of the request.
    var giveUp = {}

    init(
        head: AnswerHead, options: GenerationOptions,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) {
        streams = options.stream
        stream = StreamWriter(head, options: options)
        collector = AnswerCollector(head, options: options)
        self.reply = reply
    }

    func receive(_ event: GenerationEvent, _ choice: Int) {
        if streams { receiveStreaming(event, choice) } else { receiveWhole(event, choice) }
    }

    private func receiveWhole(_ event: GenerationEvent, _ choice: Int) {
        switch collector.add(event, choice: choice) {
        case nil: return
        case .failure(let error): fail(error)
        case .success(let body): reply(body, true, false)
        }
    }

    private func receiveStreaming(_ event: GenerationEvent, _ choice: Int) {
        guard !stream.isOver else { return }
        let bytes = stream.write(event, choice: choice)
        if case .failed(let error) = event { return fail(error) }
        for object in Self.objects(in: bytes) { reply(object, false, false) }
        if stream.isOver { reply([], true, false) }
    }

    private func fail(_ error: OpenAIError) {
        reply(error.body, true, true)
        giveUp()
    }

    /// The JSON objects of `data: {…}\n\n` events; JSON of ours holds no raw line feed.
    private static func objects(in events: [UInt8]) -> [[UInt8]] {
        events.split(separator: UInt8(ascii: "\n")).map { Array($0.dropFirst(6)) }.filter {
            $0.first == UInt8(ascii: "{")
        }
    }
}

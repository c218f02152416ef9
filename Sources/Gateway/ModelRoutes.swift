// The OpenAI routes, and the same models as host calls of handlers; Inference does the work on its own loop.
internal import Core
internal import FoundationEssentials
internal import HTTP
internal import Inference
internal import Ledger
internal import Platform
internal import Registry

extension Gateway {
    /// The largest body of an OpenAI request.
    private static let requestLimit = 8 << 20

    func models(_ exchange: HTTPExchange, requestID: String) {
        exchange.respond(
            status: 200, headers: standardHeaders(exchange, "application/json", requestID),
            body: OpenAIWriter.models(listings(for: exchange), now: .now))
    }

    /// The models that a caller may call.
    func listings(for exchange: HTTPExchange) -> [ModelListing] {
        let principal = exchange.caller.principal
        let allowed = principal.tenant.flatMap { shared.registry.snapshot.tenants[$0]?.settings.models }
        return shared.modelListings.filter { listing in
            principal.mayCall(model: listing.spec.name)
                && (allowed.map { $0.contains { $0.matches(listing.spec.name) } } ?? true)
        }
    }

    func completions(_ exchange: HTTPExchange, kind: AnswerHead.Kind, requestID: String) {
        readPost(exchange, requestID) { gateway, body in
            gateway.begin(exchange, requestID, bytes: body.count) { () throws(OpenAIError) in
                try gateway.readWork(kind, body)
            }
        }
    }

    /// Takes in the body of a request for a model; what is none is answered here.
    func readPost(
        _ exchange: HTTPExchange, _ requestID: String, then serve: @escaping (Gateway, _ body: [UInt8]) -> Void
    ) {
        guard exchange.request.method == "POST" else {
            return answer(
                exchange, OpenAIError(status: 405, type: "invalid_request_error", message: "use POST"), requestID)
        }
        exchange.collectBody(limit: exchange.caller.bodyLimit(Self.requestLimit)) { [weak self] result in
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

    /// - Parameter bytes: of the request's body.
    func begin(_ exchange: HTTPExchange, _ requestID: String, bytes: Int, _ read: () throws(OpenAIError) -> Work) {
        var begun: CallMeter?
        do throws(OpenAIError) {
            let work = try read()
            let tenant = try tenant(of: exchange, calling: work.model)
            let meter = meter(
                origin(of: exchange), tenant: tenant, model: work.model,
                route: Self.routeName(exchange.request.path), bytesIn: bytes)
            begun = meter
            let answer = ModelAnswer(exchange, work, meter, requestID: requestID, gateway: self)
            let own = LoopBound(answer, on: loop)
            let remote = loop.remote
            let caching = try caching(exchange) { own.value.outcome = $0 }
            let handles = work.start(shared.inference, tenant, caching, meter) { choice, event in
                remote.submit { _ in own.value.receive(event, choice) }
            }
            answer.giveUp = { for handle in handles { handle.cancel() } }
            exchange.onClose = { [weak answer, giveUp = answer.giveUp] in
                answer?.close()
                giveUp()
            }
        } catch {
            begun?.refused(error, status: Dialect(exchange).status(error))
            answer(exchange, error, requestID)
        }
    }

    /// Whose request it is. The platform may say for whom it asks, which is for proxies and tests; nobody is `public`.
    func tenant(of exchange: HTTPExchange) throws(OpenAIError) -> String {
        let principal = exchange.caller.principal
        if let own = principal.tenant { return own }
        guard let name = exchange.request.headers.first("x-swiftlet-tenant") else { return Tenant.publicName }
        guard Names.isValid(name) else {
            throw .invalid(nil, "x-swiftlet-tenant: not the name of a tenant; use \(Names.rule)", code: "invalid_value")
        }
        guard shared.registry.snapshot.isServed(name) else { throw .refused(Self.isSuspended(name)) }
        return name
    }

    /// The tenant whose request it is, when it may call this model.
    func tenant(of exchange: HTTPExchange, calling model: String) throws(OpenAIError) -> String {
        let tenant = try tenant(of: exchange)
        let name = ModelReference(model).name
        let settings = shared.registry.snapshot.tenants[tenant]?.settings
        guard exchange.caller.principal.mayCall(model: name),
            settings?.models.map({ $0.contains { $0.matches(name) } }) ?? true
        else {
            throw OpenAIError(
                status: 403, type: "permission_error", code: "model_not_allowed", param: "model",
                message:
                    "model: this key may not call the model \"\(name.prefix(200))\"; GET /v1/models lists those it may")
        }
        return tenant
    }

    /// A request that was read, whichever shape it had, and what makes its answer.
    struct Work {
        let model: String
        let streams: Bool
        let stream: any AnswerStream
        let collector: any AnswerBody
        let start:
            (InferenceService, _ tenant: String, ResponseCaching?, CallMeter, @escaping ChoiceSink) ->
                [GenerationHandle]

        init(_ chat: ChatRequest, stream: any AnswerStream, collector: any AnswerBody) {
            self.stream = stream
            self.collector = collector
            model = chat.model
            streams = chat.options.stream
            start = { $0.chat(chat, tenant: $1, caching: $2, meter: $3, deliver: $4) }
        }

        init(_ text: CompletionRequest, _ head: AnswerHead) {
            stream = StreamWriter(head, options: text.options)
            collector = AnswerCollector(head, options: text.options)
            model = text.model
            streams = text.options.stream
            start = { $0.complete(text, tenant: $1, caching: $2, meter: $3, deliver: $4) }
        }
    }

    private func readWork(_ kind: AnswerHead.Kind, _ body: [UInt8]) throws(OpenAIError) -> Work {
        switch kind {
        case .chat:
            let request = try ChatRequest(body.span, parser: &parser)
            let head = head("chatcmpl-", model: request.model)
            return Work(
                request, stream: StreamWriter(head, options: request.options),
                collector: AnswerCollector(head, options: request.options))
        case .text:
            let request = try CompletionRequest(body.span, parser: &parser)
            return Work(request, head("cmpl-", kind: kind, model: request.model))
        }
    }

    /// - Parameter prefix: of the answer's name.
    func head(_ prefix: String, kind: AnswerHead.Kind = .chat, model: String) -> AnswerHead {
        let id = shared.requestIDs.name(nil, number: shared.requestIDs.number()).dropFirst(4)
        return AnswerHead(
            kind: kind, id: prefix + id, created: Int64(Date().timeIntervalSince1970), model: model)
    }

    func answer(_ exchange: HTTPExchange, _ error: OpenAIError, _ requestID: String) {
        var headers = standardHeaders(exchange, "application/json", requestID)
        if let wait = error.retryAfterMilliseconds {
            _ = headers.append("retry-after", "\((wait + 999) / 1000)")
            _ = headers.append("retry-after-ms", "\(wait)")
        }
        if error.status == 401 { _ = headers.append("www-authenticate", Self.challenge(exchange.request)) }
        // What no waiting mends is not to be tried again, whatever the status says to a client.
        if error.code == "insufficient_quota" { _ = headers.append("x-should-retry", "false") }
        let dialect = Dialect(exchange)
        dialect.append(error.standing, requestID, to: &headers)
        exchange.respond(
            status: dialect.status(error), headers: headers, body: dialect.body(error, requestID))
    }

    /// A handler may call the models that its manifest names.
    func checkAllowed(_ model: String, _ caller: Deployment) throws(OpenAIError) {
        guard !caller.manifest.models.contains(ModelReference(model).name) else { return }
        throw OpenAIError(
            status: 403, type: "permission_error", code: "model_not_allowed", param: "model",
            message: "\(caller.key) may not call the model \(model); name it in `models` of its manifest")
    }

    /// Host call `model.chat`: the request is that of the OpenAI route. Returns how to give it up.
    func callModel(
        _ payload: [UInt8], caller: Deployment, origin: CallOrigin,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) -> () -> Void {
        do throws(OpenAIError) {
            let work = try readWork(.chat, payload)
            try checkAllowed(work.model, caller)
            let meter = meter(
                origin, tenant: caller.tenant, model: work.model, route: "call:chat", bytesIn: payload.count)
            let relay = LoopBound(HostCallRelay(work, meter, reply: reply), on: loop)
            let remote = loop.remote
            let handles = work.start(shared.inference, caller.tenant, nil, meter) { choice, event in
                remote.submit { _ in relay.value.receive(event, choice) }
            }
            relay.value.giveUp = {
                meter.cancelled()
                for handle in handles { handle.cancel() }
            }
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
    private var stream: any AnswerStream
    private var collector: any AnswerBody
    private unowned let gateway: Gateway
    private let meter: CallMeter
    private var standing: QuotaStanding?
    private var notice: LoadingNotice?
    private let model: String
    /// What the response cache said, when it was asked.
    var outcome: ResponseCaching.Outcome?
    /// Ends all answers of the request: when one fails, nobody reads the others.
    var giveUp = {}

    init(
        _ exchange: HTTPExchange, _ work: Gateway.Work, _ meter: CallMeter, requestID: String, gateway: Gateway
    ) {
        self.meter = meter
        self.exchange = exchange
        self.requestID = requestID
        self.gateway = gateway
        streams = work.streams
        stream = work.stream
        collector = work.collector
        model = work.model
    }

    /// The caller left.
    func close() {
        notice?.stop()
        meter.cancelled(status: exchange.hasStarted ? 200 : 0)
    }

    func receive(_ event: GenerationEvent, _ choice: Int) {
        if case .started(_, let standing) = event { self.standing = standing }
        if streams { noteLoading(event) }
        if streams { receiveStreaming(event, choice) } else { receiveWhole(event, choice) }
        if case .failed = event { giveUp() }
    }

    /// While the model loads, a stream says so; whatever comes next ends that.
    private func noteLoading(_ event: GenerationEvent) {
        guard case .queued(loading: true) = event else { return notice?.stop() ?? () }
        guard notice == nil else { return }
        notice = LoadingNotice(model: model, gateway: gateway) { [weak self] in self?.send($0) }
        notice?.start()
    }

    private func receiveStreaming(_ event: GenerationEvent, _ choice: Int) {
        guard !stream.isOver else { return }
        let bytes = stream.write(event, choice: choice)
        if case .failed(let error) = event {
            guard exchange.hasStarted else { return fail(error) }
            meter.refused(error, status: 200)
        }
        if stream.isOver { meter.end("success", status: 200) }
        if !bytes.isEmpty { send(bytes) }
        if stream.isOver { exchange.finish() }
    }

    private func send(_ bytes: [UInt8]) {
        if !exchange.hasStarted {
            // The total of a stream is the time until its first event.
            var headers = gateway.standardHeaders(exchange, StreamWriter.contentType, requestID)
            _ = headers.append("cache-control", "no-store")
            Dialect(exchange).append(standing, requestID, to: &headers)
            gateway.append(outcome, to: &headers)
            exchange.start(status: 200, headers: headers)
        }
        meter.add { $0.bytesOut += UInt64(bytes.count) }
        exchange.write(bytes)
    }

    private func fail(_ error: OpenAIError) {
        meter.refused(error, status: Dialect(exchange).status(error))
        gateway.answer(exchange, error, requestID)
    }

    private func receiveWhole(_ event: GenerationEvent, _ choice: Int) {
        switch collector.add(event, choice: choice) {
        case nil: return
        case .failure(let error): fail(error)
        case .success(let body):
            meter.answered(body)
            let timings = collector.timings
            var timing = ServerTiming()
            timing.add("queue", timings.queue)
            if timings.load > 0 { timing.add("load", timings.load) }
            timing.add("model", timings.prefill + timings.decode)
            timing.add("prefill", timings.prefill)
            timing.add("decode", timings.decode)
            timing.addTotal(exchange)
            var headers = gateway.headers(timing, "application/json", requestID)
            Dialect(exchange).append(standing, requestID, to: &headers)
            gateway.append(outcome, to: &headers)
            exchange.respond(status: 200, headers: headers, body: body)
        }
    }
}

/// Turns the events of one request into the replies of a host call: whole JSON objects, without event-stream framing.
private final class HostCallRelay {
    private let streams: Bool
    private var stream: any AnswerStream
    private var collector: any AnswerBody
    private let meter: CallMeter
    private let reply: (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    /// Ends all answers of the request.
    var giveUp = {}

    init(
        _ work: Gateway.Work, _ meter: CallMeter,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) {
        streams = work.streams
        stream = work.stream
        collector = work.collector
        self.meter = meter
        self.reply = reply
    }

    func receive(_ event: GenerationEvent, _ choice: Int) {
        if streams { receiveStreaming(event, choice) } else { receiveWhole(event, choice) }
    }

    private func receiveWhole(_ event: GenerationEvent, _ choice: Int) {
        switch collector.add(event, choice: choice) {
        case nil: return
        case .failure(let error): fail(error)
        case .success(let body):
            meter.answered(body)
            reply(body, true, false)
        }
    }

    private func receiveStreaming(_ event: GenerationEvent, _ choice: Int) {
        guard !stream.isOver else { return }
        let bytes = stream.write(event, choice: choice)
        if case .failed(let error) = event { return fail(error) }
        for object in Self.objects(in: bytes) {
            meter.add { $0.bytesOut += UInt64(object.count) }
            reply(object, false, false)
        }
        guard stream.isOver else { return }
        meter.end("success", status: 200)
        reply([], true, false)
    }

    private func fail(_ error: OpenAIError) {
        meter.refused(error, status: error.status)
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

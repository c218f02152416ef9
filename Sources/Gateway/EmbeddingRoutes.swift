// Routes whose answer comes whole from one model: embeddings, rerank, tokenize; and `model.embed` for handlers.
internal import Core
internal import HTTP
internal import Inference
internal import Ledger
internal import Platform

extension Gateway {
    func embeddings(_ exchange: HTTPExchange, requestID: String) {
        readBody(exchange, requestID) { (gateway, bytes, tenant) throws(OpenAIError) in
            let body = try EmbeddingsBody(bytes.span, parser: &gateway.parser)
            return WholeWork(body.model, .embedding(body.request(tenant: tenant)), EmbeddingCollector(body))
        }
    }

    func rerank(_ exchange: HTTPExchange, requestID: String) {
        readBody(exchange, requestID) { (gateway, bytes, tenant) throws(OpenAIError) in
            let body = try RerankBody(bytes.span, parser: &gateway.parser)
            let id =
                "rerank-" + gateway.shared.requestIDs.name(nil, number: gateway.shared.requestIDs.number()).dropFirst(4)
            return WholeWork(body.model, .embedding(body.request(tenant: tenant)), RerankCollector(body, id: id))
        }
    }

    func tokenize(_ exchange: HTTPExchange, requestID: String) {
        readBody(exchange, requestID) { (gateway, bytes, tenant) throws(OpenAIError) in
            let body = try TokenizeBody(bytes.span, parser: &gateway.parser)
            return WholeWork(body.model, .tokens(body.request(tenant: tenant)), TokenCollector())
        }
    }

    /// Host call `model.embed`: request and answer are those of the route. Returns how to give it up.
    func callEmbed(
        _ payload: [UInt8], caller: Deployment, origin: CallOrigin,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) -> () -> Void {
        do throws(OpenAIError) {
            let body = try EmbeddingsBody(payload.span, parser: &parser)
            try checkAllowed(body.model, caller)
            let work = WholeWork(body.model, .embedding(body.request(tenant: caller.tenant)), EmbeddingCollector(body))
            let meter = meter(
                origin, tenant: caller.tenant, model: body.model, route: "call:embed", bytesIn: payload.count)
            let handle = begin(work, nil, meter) { result, _, _ in
                switch result {
                case .success(let bytes):
                    meter.answered(bytes)
                    reply(bytes, true, false)
                case .failure(let error):
                    meter.refused(error, status: error.status)
                    reply(error.body, true, true)
                }
            }
            return {
                meter.cancelled()
                handle.cancel()
            }
        } catch {
            reply(error.body, true, true)
            return {}
        }
    }

    // MARK: one request, one answer

    func readBody(
        _ exchange: HTTPExchange, _ requestID: String,
        _ read: @escaping (Gateway, _ body: [UInt8], _ tenant: String) throws(OpenAIError) -> WholeWork
    ) {
        readPost(exchange, requestID) { gateway, body in
            do throws(OpenAIError) {
                var outcome: ResponseCaching.Outcome?
                let caching = try gateway.caching(exchange) { outcome = $0 }
                let work = try read(gateway, body, gateway.tenant(of: exchange))
                let tenant = try gateway.tenant(of: exchange, calling: work.model)
                let meter = gateway.meter(
                    gateway.origin(of: exchange), tenant: tenant, model: work.model,
                    route: Self.routeName(exchange.request.path), bytesIn: body.count)
                gateway.serve(exchange, work, meter, caching, { outcome }, requestID)
            } catch {
                gateway.answer(exchange, error, requestID)
            }
        }
    }

    private func serve(
        _ exchange: HTTPExchange, _ work: WholeWork, _ meter: CallMeter, _ caching: ResponseCaching?,
        _ outcome: @escaping () -> ResponseCaching.Outcome?, _ requestID: String
    ) {
        let handle = begin(work, caching, meter) { [weak self] result, timings, standing in
            guard let self else { return }
            switch result {
            case .failure(let error):
                meter.refused(error, status: Dialect(exchange).status(error))
                answer(exchange, error, requestID)
            case .success(let body):
                meter.answered(body)
                var timing = ServerTiming()
                timing.add("queue", timings.queue)
                if timings.load > 0 { timing.add("load", timings.load) }
                timing.add("model", timings.prefill)
                timing.addTotal(exchange)
                var headers = headers(timing, "application/json", requestID)
                Dialect(exchange).append(standing, requestID, to: &headers)
                append(outcome(), to: &headers)
                exchange.respond(status: 200, headers: headers, body: body)
            }
        }
        exchange.onClose = {
            meter.cancelled()
            handle.cancel()
        }
    }

    /// Asks the model; `done` is called on this loop, once.
    private func begin(
        _ work: WholeWork, _ caching: ResponseCaching?, _ meter: CallMeter, done: @escaping WholeAnswer.Done
    ) -> GenerationHandle {
        let own = LoopBound(WholeAnswer(work.collector, done), on: loop)
        let remote = loop.remote
        return shared.inference.submit(work.request, model: work.model, caching: caching, meter: meter) { event in
            remote.submit { _ in own.value.receive(event) }
        }
    }
}

/// A request that was read, and what makes its answer.
struct WholeWork {
    let model: String
    let request: ModelRequest
    let collector: any EventCollector

    init(_ model: String, _ request: ModelRequest, _ collector: any EventCollector) {
        self.model = model
        self.request = request
        self.collector = collector
    }
}

/// The answer of one request in the making.
private final class WholeAnswer {
    typealias Done = (Result<[UInt8], OpenAIError>, GenerationTimings, QuotaStanding?) -> Void

    private var collector: any EventCollector
    private var standing: QuotaStanding?
    private let done: Done

    init(_ collector: any EventCollector, _ done: @escaping Done) {
        self.collector = collector
        self.done = done
    }

    func receive(_ event: GenerationEvent) {
        if case .started(_, let standing) = event { self.standing = standing }
        guard let result = collector.add(event) else { return }
        done(result, collector.timings, standing)
    }
}

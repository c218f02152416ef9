// The routes of the Open Inference Protocol v2 (docs/kserve-v2.md), and the same models as host calls of handlers.
internal import Core
internal import HTTP
internal import Inference
internal import Ledger
internal import Platform
internal import Workers

extension Gateway {
    /// The largest body, whatever the model's `limits.body_mb` says: what a worker takes in one piece.
    private static let largestBody: UInt64 = 60 << 20
    private static var headerLength: StaticString { "inference-header-content-length" }

    func tensors(_ exchange: HTTPExchange, requestID: String) {
        let parts = exchange.request.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2)
        do throws(OpenAIError) {
            switch Array(parts) {
            case [], [""]:
                try want("GET", exchange)
                json(exchange, Self.serverMetadata, requestID)
            case ["health", "live"]:
                try want("GET", exchange)
                json(exchange, Array(#"{"live":true}"#.utf8), requestID)
            case ["health", "ready"]:
                try want("GET", exchange)
                guard shared.host.layers != nil, !shared.isDraining else {
                    throw OpenAIError(status: 503, type: "server_error", message: "starting or draining")
                }
                json(exchange, Array(#"{"ready":true}"#.utf8), requestID)
            case ["models", "stats"]:
                try want("GET", exchange)
                try wantPlatform(exchange)
                json(exchange, InferWriter.statistics(statistics(of: shared.inference.models)), requestID)
            case ["repository", "index"]:
                try want("POST", exchange)
                repositoryIndex(exchange, requestID)
            case let rest where rest.first == "models" && rest.count >= 2:
                try model(exchange, Array(rest.dropFirst()), requestID)
            case let rest where rest.first == "repository" && rest.count == 4:
                throw .invalid(nil, "models load when they are asked, and go when they are idle: see keep_alive_s")
            default: throw noRoute(exchange)
            }
        } catch {
            fail(exchange, error, requestID)
        }
    }

    private static let serverMetadata = Array(
        (#"{"name":"swiftlet","version":"2","extensions":["binary_tensor_data","statistics","model_configuration","#
            + #""model_repository"]}"#).utf8)

    private func noRoute(_ exchange: HTTPExchange) -> OpenAIError {
        OpenAIError(
            status: 404, type: "invalid_request_error",
            message: "\(exchange.request.path.prefix(200)): there is no such route; docs/kserve-v2.md has them")
    }

    private func want(_ method: String, _ exchange: HTTPExchange) throws(OpenAIError) {
        guard exchange.request.method != method else { return }
        throw OpenAIError(status: 405, type: "invalid_request_error", message: "use \(method)")
    }

    /// Statistics count what all tenants did.
    private func wantPlatform(_ exchange: HTTPExchange) throws(OpenAIError) {
        guard !exchange.caller.principal.may(.readPlatform, in: nil) else { return }
        throw OpenAIError(
            status: 403, type: "permission_error",
            message: "statistics are of all tenants: use a key of the platform, or GET /admin/v1/usage for your own")
    }

    private func json(_ exchange: HTTPExchange, _ body: [UInt8], _ requestID: String) {
        exchange.respond(status: 200, headers: standardHeaders(exchange, "application/json", requestID), body: body)
    }

    func fail(_ exchange: HTTPExchange, _ error: OpenAIError, _ requestID: String) {
        var headers = standardHeaders(exchange, "application/json", requestID)
        if let wait = error.retryAfterMilliseconds { _ = headers.append("retry-after", "\((wait + 999) / 1000)") }
        if error.status == 401 { _ = headers.append("www-authenticate", Self.challenge(exchange.request)) }
        exchange.respond(status: error.status, headers: headers, body: InferWriter.failure(error))
    }

    // MARK: one model

    /// `parts`: its name, perhaps `versions` and one, perhaps what is asked of it.
    private func model(_ exchange: HTTPExchange, _ parts: [Substring], _ requestID: String) throws(OpenAIError) {
        _ = try tenant(of: exchange, calling: String(parts[0]))
        guard var spec = shared.inference.model(named: String(parts[0])) else {
            throw OpenAIError(
                status: 404, type: "invalid_request_error",
                message: "there is no model '\(parts[0].prefix(200))' here; POST /v2/repository/index lists them")
        }
        var rest = parts.dropFirst()
        if rest.first == "versions", let version = rest.dropFirst().first {
            guard let found = shared.inference.model(named: "\(spec.name)@\(version)") else {
                let known = shared.inference.directoryOfModels.versions(of: spec.name).map(\.version)
                throw OpenAIError(
                    status: 404, type: "invalid_request_error",
                    message: "\(spec.name) has no version '\(version.prefix(200))'; it has "
                        + known.joined(separator: ", "))
            }
            spec = found
            rest = rest.dropFirst(2)
        }
        switch Array(rest) {
        case []:
            try want("GET", exchange)
            ask(exchange, spec, requestID) { InferWriter.metadata(spec, $0) }
        case ["config"]:
            try want("GET", exchange)
            ask(exchange, spec, requestID) { InferWriter.configuration(spec, $0) }
        case ["ready"]:
            try want("GET", exchange)
            json(exchange, Array(#"{"ready":true}"#.utf8), requestID)
        case ["stats"]:
            try want("GET", exchange)
            try wantPlatform(exchange)
            json(exchange, InferWriter.statistics(statistics(of: [spec])), requestID)
        case ["infer"]:
            try want("POST", exchange)
            collect(exchange, spec, requestID)
        default: throw noRoute(exchange)
        }
    }

    private func statistics(of specs: [ModelSpec]) -> [(spec: ModelSpec, values: TensorMetrics)] {
        let all = shared.inference.metrics
        return specs.map { spec in (spec, all.first { $0.name == spec.name }?.values.tensors ?? TensorMetrics()) }
    }

    private func repositoryIndex(_ exchange: HTTPExchange, _ requestID: String) {
        var json = JSONWriter()
        let allowed = Set(listings(for: exchange).map(\.spec.name))
        json.array(shared.inference.models.filter { allowed.contains($0.name) }) { json, spec in
            json.raw("{\"name\":")
            json.string(spec.name)
            json.raw(",\"version\":")
            json.string(spec.version)
            json.raw(",\"state\":\"READY\",\"reason\":\"\"}")
        }
        self.json(exchange, json.bytes, requestID)
    }

    // MARK: asking a model

    /// Asks what it takes and gives, which loads it.
    private func ask(
        _ exchange: HTTPExchange, _ spec: ModelSpec, _ requestID: String,
        _ body: @escaping (TensorSignature) -> [UInt8]
    ) {
        start(exchange, spec, .signature, nil, requestID) { result throws(OpenAIError) in
            guard case .signature(let signature) = result else { return ([], nil) }
            return (body(signature), nil)
        }
    }

    private func collect(_ exchange: HTTPExchange, _ spec: ModelSpec, _ requestID: String) {
        if let coding = exchange.request.headers.first("content-encoding"), coding != "identity" {
            return fail(
                exchange,
                OpenAIError(
                    status: 415, type: "invalid_request_error",
                    message: "Content-Encoding: '\(coding.prefix(40))' is not offered; send the body as it is"),
                requestID)
        }
        let limit = exchange.caller.bodyLimit(Int(min(spec.worker.limits.bodyBytes, Self.largestBody)))
        exchange.collectBody(limit: limit) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(.interrupted): return
            case .failure(.tooLarge(let limit)):
                fail(
                    exchange,
                    OpenAIError(
                        status: 413, type: "invalid_request_error",
                        message: "the body is larger than \(limit) bytes (limits.body_mb of \(spec.name))"), requestID)
            case .success(let body): infer(exchange, spec, body, requestID)
            }
        }
    }

    private func infer(_ exchange: HTTPExchange, _ spec: ModelSpec, _ body: [UInt8], _ requestID: String) {
        do throws(OpenAIError) {
            let length = exchange.request.headers.first(Self.headerLength)
            let request = try InferRequest(body, headerLength: length, parser: &parser)
            start(exchange, spec, .infer(inputs: request.inputs), body.count, requestID) { result throws(OpenAIError) in
                guard case .outputs(let outputs, _) = result else { return ([], nil) }
                return try InferWriter.answer(outputs, to: request, model: spec.name, version: spec.version)
            }
        } catch {
            fail(exchange, error, requestID)
        }
    }

    /// - Parameter bytes: of the body of a call; nil: nothing is computed, and nobody counts it.
    private func start(
        _ exchange: HTTPExchange, _ spec: ModelSpec, _ work: TensorRequest.Work, _ bytes: Int?, _ requestID: String,
        _ body: @escaping TensorAnswer.Body
    ) {
        let name: String
        do throws(OpenAIError) {
            name = try tenant(of: exchange)
        } catch {
            return fail(exchange, error, requestID)
        }
        let meter = bytes.map {
            self.meter(
                origin(of: exchange), tenant: name, model: spec.reference, route: "infer", bytesIn: $0)
        }
        let answer = LoopBound(
            TensorAnswer(exchange, meter, gateway: self, requestID: requestID, body: body), on: loop)
        let remote = loop.remote
        let request = TensorRequest(tenant: name, work: work)
        let handle = shared.inference.infer(request, model: spec.reference, meter: meter) { event in
            remote.submit { _ in answer.value.receive(event) }
        }
        exchange.onClose = {
            meter?.cancelled()
            handle.cancel()
        }
    }

    /// Host call `model.infer`: the JSON of the route with the model's name in `model`. Returns how to give it up.
    func callTensors(
        _ payload: [UInt8], caller: Deployment, origin: CallOrigin,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) -> () -> Void {
        do throws(OpenAIError) {
            let request = try InferRequest(payload, headerLength: nil, parser: &parser)
            guard let name = request.model else { throw .missing("model") }
            try checkAllowed(name, caller)
            let version = shared.inference.model(named: name)?.version ?? ""
            let meter = meter(
                origin, tenant: caller.tenant, model: name, route: "call:infer", bytesIn: payload.count)
            let relay = LoopBound(
                TensorRelay(request: request, meter, model: name, version: version, reply: reply), on: loop)
            let remote = loop.remote
            let work = TensorRequest(tenant: caller.tenant, work: .infer(inputs: request.inputs))
            let handle = shared.inference.infer(work, model: name, meter: meter) { event in
                remote.submit { _ in relay.value.receive(event) }
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
}

/// Turns the last event of a request on tensors into an HTTP answer.
private final class TensorAnswer {
    typealias Body = (TensorResult) throws(OpenAIError) -> (body: [UInt8], headerLength: Int?)

    private let exchange: HTTPExchange
    private let requestID: String
    private let body: Body
    private let meter: CallMeter?
    private unowned let gateway: Gateway

    init(_ exchange: HTTPExchange, _ meter: CallMeter?, gateway: Gateway, requestID: String, body: @escaping Body) {
        self.exchange = exchange
        self.meter = meter
        self.gateway = gateway
        self.requestID = requestID
        self.body = body
    }

    func receive(_ event: GenerationEvent) {
        switch event {
        case .failed(let error): fail(error)
        case .inferred(let result): respond(result)
        default: return
        }
    }

    private func respond(_ result: TensorResult) {
        do throws(OpenAIError) {
            let (body, length) = try self.body(result)
            var timing = ServerTiming()
            if case .outputs(_, let times) = result {
                timing.add("queue", times.queue)
                if times.load > 0 { timing.add("load", times.load) }
                timing.add("model", times.infer)
            }
            timing.addTotal(exchange)
            let type = length == nil ? "application/json" : "application/octet-stream"
            var headers = gateway.headers(timing, type, requestID)
            if let length { _ = headers.append("inference-header-content-length", "\(length)") }
            meter?.answered(body)
            exchange.respond(status: 200, headers: headers, body: body)
        } catch {
            fail(error)
        }
    }

    private func fail(_ error: OpenAIError) {
        meter?.refused(error, status: error.status)
        gateway.fail(exchange, error, requestID)
    }
}

/// Turns the last event of a request on tensors into the reply of a host call.
private final class TensorRelay {
    private let request: InferRequest
    private let model: String
    private let version: String
    private let meter: CallMeter
    private let reply: (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void

    init(
        request: InferRequest, _ meter: CallMeter, model: String, version: String,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) {
        self.request = request
        self.model = model
        self.version = version
        self.meter = meter
        self.reply = reply
    }

    func receive(_ event: GenerationEvent) {
        switch event {
        case .failed(let error): fail(error)
        case .inferred(.outputs(let outputs, _)):
            do throws(OpenAIError) {
                let body = try InferWriter.answer(outputs, to: request, model: model, version: version).body
                meter.answered(body)
                reply(body, true, false)
            } catch {
                fail(error)
            }
        default: return
        }
    }

    private func fail(_ error: OpenAIError) {
        meter.refused(error, status: error.status)
        reply(error.body, true, true)
    }
}

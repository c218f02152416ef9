// What may be asked of a model, whichever kind it is, and what serves it while the model is loaded.
internal import Ledger

/// One request for a model.
package enum ModelRequest: Sendable {
    case generation(GenerationRequest)
    case embedding(EmbeddingRequest)
    case tokens(TokenizeRequest)
    case inference(TensorRequest)

    package var tenant: String {
        switch self {
        case .generation(let request): request.tenant
        case .embedding(let request): request.tenant
        case .tokens(let request): request.tenant
        case .inference(let request): request.tenant
        }
    }

    var meter: CallMeter? {
        switch self {
        case .generation(let request): request.meter
        case .embedding(let request): request.meter
        case .tokens(let request): request.meter
        case .inference(let request): request.meter
        }
    }

    /// Who pays for it: whoever the ledger says asked.
    var payer: QuotaPayer { QuotaPayer(tenant: tenant, principal: meter?.principal) }

    /// The same, told to somebody what it takes.
    func metered(by meter: CallMeter?) -> ModelRequest {
        switch self {
        case .generation(var request):
            request.meter = meter
            return .generation(request)
        case .embedding(var request):
            request.meter = meter
            return .embedding(request)
        case .tokens(var request):
            request.meter = meter
            return .tokens(request)
        case .inference(var request):
            request.meter = meter
            return .inference(request)
        }
    }
}

/// Serves the requests of one loaded model, from the worker's READY to its end. Loop-confined.
protocol ModelWork: AnyObject {
    var model: LoadedModel { get }
    /// - Parameter loadNanoseconds: how long the request has waited for the model to be loaded.
    func submit(_ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink)
    func cancel(_ id: GenerationID)
    /// The worker is gone: all requests fail. Returns whose they were.
    func failAll(_ error: OpenAIError) -> [GenerationID]
}

extension ModelWork {
    var spec: ModelSpec { model.spec }
    var info: ModelInfo { model.info }
    var counters: ModelCounters { model.counters }
    var quotas: QuotaKeeper { model.quotas }
    /// Counts what a tenant got: for /metrics and in the row of the call, here and nowhere else.
    func book(_ got: TenantTotals.Totals, _ tenant: String, _ meter: CallMeter?) {
        counters.update { $0.tenants.add(tenant) { $0.add(got) } }
        meter?.add {
            $0.tokensIn += got.promptTokens
            $0.tokensCached += got.cachedTokens
            $0.tokensOut += got.completionTokens
            $0.deviceNanoseconds += got.deviceNanoseconds
        }
    }

    func started(_ id: GenerationID) { model.started(id) }
    func ended(_ id: GenerationID) { model.ended(id) }
}

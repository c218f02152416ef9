// What may be asked of a model, whichever kind it is, and what serves it while the model is loaded.

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
    func started(_ id: GenerationID) { model.started(id) }
    func ended(_ id: GenerationID) { model.ended(id) }
}

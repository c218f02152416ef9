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
    /// - Parameter loadNanoseconds: how long the request has waited for the model to be loaded.
    func submit(_ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink)
    func cancel(_ id: GenerationID)
    /// Takes the worker's answer to one operation.
    func received(_ number: UInt32, status: Int32, payload: [UInt8])
    /// The worker is gone: all requests fail. Returns whose they were.
    func failAll(_ error: OpenAIError) -> [GenerationID]
}

// Gives each request of a loaded model to the runner of its kind.

/// The work of a model, whatever it can do.
final class ModelDesk: ModelWork {
    let model: LoadedModel
    private let generations: ModelRunner
    private let embeddings: EmbeddingRunner

    init(_ model: LoadedModel, prefixes: PrefixStore?) {
        self.model = model
        generations = ModelRunner(model, prefixes: prefixes)
        embeddings = EmbeddingRunner(model)
    }

    func submit(
        _ id: GenerationID, _ request: ModelRequest, loadNanoseconds: UInt64, sink: @escaping GenerationSink
    ) {
        let runner: any ModelWork =
            switch request {
            case .generation, .inference: generations
            case .embedding, .tokens: embeddings
            }
        runner.submit(id, request, loadNanoseconds: loadNanoseconds, sink: sink)
    }

    func cancel(_ id: GenerationID) {
        generations.cancel(id)
        embeddings.cancel(id)
    }

    func failAll(_ error: OpenAIError) -> [GenerationID] { generations.failAll(error) + embeddings.failAll(error) }
}

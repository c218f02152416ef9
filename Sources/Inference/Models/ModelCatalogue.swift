// The models that can be named, each with its worker when it is awake. Loop-confined; InferenceService is its door.
internal import Core
internal import Platform
internal import Workers

final class ModelCatalogue {
    private let loop: EventLoop
    private let start: BackendStart
    private let quotas: QuotaKeeper
    private let prefixes: PrefixStore?
    private var models: [String: ServedModel] = [:]
    /// Taken out of the catalogue, still answering what they had begun.
    private var leaving: [ObjectIdentifier: ServedModel] = [:]
    private var owners: [GenerationID: ServedModel] = [:]

    init(loop: EventLoop, quotas: QuotaKeeper, prefixes: PrefixStore?, start: @escaping BackendStart) {
        self.quotas = quotas
        self.prefixes = prefixes
        self.loop = loop
        self.start = start
    }

    /// Replaces the catalogue. A model whose artefact changed gets a new worker; its old one finishes what it has.
    func replace(_ specs: [ModelSpec], counters: [String: ModelCounters]) {
        var next: [String: ServedModel] = [:]
        for spec in specs {
            if let model = models[spec.name], model.spec.worker.directory == spec.worker.directory {
                next[spec.name] = model
            } else if let counters = counters[spec.name] {
                next[spec.name] = ServedModel(
                    spec, loop: loop, counters: counters, quotas: quotas, prefixes: prefixes, start: start
                ) { [weak self] model in
                    self?.leaving[ObjectIdentifier(model)] = nil
                }
            }
        }
        let old = models.values.filter { next[$0.spec.name] !== $0 }
        models = next
        for model in old where !model.isCold {
            leaving[ObjectIdentifier(model)] = model
            model.retire()
        }
    }

    func submit(_ id: GenerationID, model name: String, _ request: ModelRequest, sink: @escaping GenerationSink) {
        guard let model = models[name] else { return sink(.failed(.modelNotFound(name))) }
        do throws(OpenAIError) {
            try quotas.enter(request.tenant)
        } catch {
            return sink(.failed(error))
        }
        owners[id] = model
        let own = LoopBound(self, on: loop)
        model.submit(id, request) { event in
            // The sink runs on this loop, whoever it belongs to.
            if event.isLast {
                own.value.owners[id] = nil
                own.value.quotas.leave(request.tenant)
            }
            sink(event)
        }
    }

    func replace(_ policies: TenantPolicies) {
        for gone in quotas.names.subtracting(policies.names) { prefixes?.forget(gone) }
        quotas.replace(policies)
    }

    func cancel(_ id: GenerationID) { owners[id]?.cancel(id) }

    /// Ends all workers.
    func shutDown() {
        for model in models.values { model.shutDown() }
        for model in leaving.values { model.shutDown() }
    }
}

extension GenerationEvent {
    package var isLast: Bool {
        switch self {
        case .finished, .inferred, .failed: true
        case .queued, .started, .text, .embedding, .tokens: false
        }
    }
}

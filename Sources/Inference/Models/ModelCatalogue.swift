// The models that can be named, each with its worker when it is awake. Loop-confined; InferenceService is its door.
internal import Core
internal import Platform
internal import Workers

final class ModelCatalogue {
    private let loop: EventLoop
    private let start: BackendStart
    private let quotas: QuotaKeeper
    private let responses: ResponseKeeper
    private var counters: [String: ModelCounters] = [:]
    private var models: [String: ServedModel] = [:]
    /// Taken out of the catalogue, still answering what they had begun.
    private var leaving: [ObjectIdentifier: ServedModel] = [:]
    private var owners: [GenerationID: ServedModel] = [:]

    init(loop: EventLoop, quotas: QuotaKeeper, responses: ResponseKeeper, start: @escaping BackendStart) {
        self.quotas = quotas
        self.responses = responses
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
                next[spec.name] = ServedModel(spec, loop: loop, counters: counters, quotas: quotas, start: start) {
                    [weak self] model in
                    self?.leaving[ObjectIdentifier(model)] = nil
                }
            }
        }
        let old = models.values.filter { next[$0.spec.name] !== $0 }
        models = next
        self.counters = counters
        let artefacts = Set(next.values.map(\.spec.worker.directory))
        responses.keep { _, artefact in artefacts.contains(artefact) }
        for model in old where !model.isCold {
            leaving[ObjectIdentifier(model)] = model
            model.retire()
        }
    }

    func submit(
        _ id: GenerationID, model name: String, _ request: ModelRequest,
        caching: (caching: ResponseCaching, key: String?)? = nil, sink: @escaping GenerationSink
    ) {
        guard let model = models[name] else { return sink(.failed(.modelNotFound(name))) }
        do throws(OpenAIError) {
            try quotas.enter(request.tenant)
        } catch {
            return sink(.failed(error))
        }
        var sink = sink
        if let caching {
            guard let rest = serve(request, caching, of: model, sink) else { return quotas.leave(request.tenant) }
            sink = rest
        }
        owners[id] = model
        let own = LoopBound(self, on: loop)
        model.submit(id, request) { [sink] event in
            // The sink runs on this loop, whoever it belongs to.
            if event.isLast {
                own.value.owners[id] = nil
                own.value.quotas.leave(request.tenant)
            }
            sink(event)
        }
    }

    /// Gives the answer that is kept; else returns the sink that keeps the one to be made.
    private func serve(
        _ request: ModelRequest, _ caching: (caching: ResponseCaching, key: String?), of model: ServedModel,
        _ sink: @escaping GenerationSink
    ) -> GenerationSink? {
        guard !responses.isOff, let digest = caching.key else {
            caching.caching.report(.bypass)
            return sink
        }
        // With the artefact that answers: what another version said is no answer of this one.
        let artefact = model.spec.worker.directory
        let key = digest + artefact
        let standing = quotas.standing(of: request.tenant)
        guard let (events, age) = responses.find(key, caching.caching, standing: standing) else {
            counters[model.spec.name]?.update { $0.responseMisses += 1 }
            caching.caching.report(.miss)
            return responses.recording(
                key, tenant: request.tenant, model: artefact, maxAge: caching.caching.maxAge, on: loop, to: sink)
        }
        counters[model.spec.name]?.update {
            $0.requests += 1
            $0.responseHits += 1
        }
        caching.caching.report(.hit(age: age))
        for event in events { sink(event) }
        return nil
    }

    func replace(_ policies: TenantPolicies) {
        // A tenant that the file named, and does not any more, is gone.
        let gone = quotas.replace(policies)
        if !gone.isEmpty { responses.keep { tenant, _ in !gone.contains(tenant) } }
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

// The door to the models for every thread: the gateway's loops and handlers' host calls ask here.
package import Core
package import Platform
internal import Synchronization

/// Serves what clients ask of models. All models live on one loop; requests and events cross over as values.
package final class InferenceService: Sendable {
    private struct Directory {
        var specs: [ModelSpec] = []
        var counters: [String: ModelCounters] = [:]
    }

    private let loop: LoopRemote
    private let catalogue: LoopBound<ModelCatalogue>
    private let directory = Mutex(Directory())
    private let nextID = Atomic<UInt64>(1)

    /// - Parameters:
    ///   - loop: where the models' workers are read.
    ///   - quotas: of all tenants; without it nobody has any.
    ///   - prefixes: of the same loop; without it they stay in their engines.
    ///   - start: starts a worker, on that loop; see `BackendWorker.start`.
    package init(
        loop: EventLoop, quotas: QuotaKeeper = QuotaKeeper(), prefixes: PrefixStore? = nil,
        start: @escaping BackendStart
    ) {
        self.loop = loop.remote
        catalogue = LoopBound(
            ModelCatalogue(loop: loop, quotas: quotas, prefixes: prefixes, start: start), on: loop)
    }

    // MARK: the catalogue

    /// What can be named, by name.
    package var models: [ModelSpec] { directory.withLock(\.specs) }

    package func model(named name: String) -> ModelSpec? { models.first { $0.name == name } }

    /// Replaces the catalogue. Running answers go on; models that are gone unload when they have nothing left to do.
    package func setModels(_ specs: [ModelSpec]) {
        let counters = directory.withLock { directory in
            directory.specs = specs.sorted { $0.name < $1.name }
            for spec in specs where directory.counters[spec.name] == nil {
                directory.counters[spec.name] = ModelCounters()
            }
            return directory.counters
        }
        loop.submit { [catalogue] _ in catalogue.value.replace(specs, counters: counters) }
    }

    /// Changes what tenants may take, from the next token on.
    package func setPolicies(_ policies: TenantPolicies) {
        loop.submit { [catalogue] _ in catalogue.value.replace(policies) }
    }

    /// The counters of every model that was ever in the catalogue, by name.
    package var metrics: [(name: String, values: ModelMetrics)] {
        directory.withLock(\.counters).map { ($0.key, $0.value.now) }.sorted { $0.name < $1.name }
    }

    // MARK: requests

    /// Makes `options.choices` answers; `deliver` is told which one an event belongs to.
    package func chat(_ request: ChatRequest, tenant: String, deliver: @escaping ChoiceSink) -> [GenerationHandle] {
        let prompt = GenerationRequest.Prompt.chat(request.messages)
        return generate(
            GenerationRequest(tenant: tenant, prompt: prompt, options: request.options), model: request.model,
            deliver: deliver)
    }

    package func complete(
        _ request: CompletionRequest, tenant: String, deliver: @escaping ChoiceSink
    ) -> [GenerationHandle] {
        let prompt = GenerationRequest.Prompt.text(request.prompt)
        return generate(
            GenerationRequest(tenant: tenant, prompt: prompt, options: request.options), model: request.model,
            deliver: deliver)
    }

    /// Asks a model that works on tensors.
    package func infer(_ request: TensorRequest, model: String, deliver: @escaping GenerationSink) -> GenerationHandle {
        submit(.inference(request), model: model, deliver: deliver)
    }

    /// Asks a model for anything it may offer; its answer or refusal comes as events.
    package func submit(
        _ request: ModelRequest, model: String, deliver: @escaping GenerationSink
    ) -> GenerationHandle {
        let id = GenerationID(nextID.wrappingAdd(1, ordering: .relaxed).oldValue)
        loop.submit { [catalogue] _ in catalogue.value.submit(id, model: model, request, sink: deliver) }
        return GenerationHandle(id: id, loop: loop, catalogue: catalogue)
    }

    private func generate(
        _ request: GenerationRequest, model: String, deliver: @escaping ChoiceSink
    ) -> [GenerationHandle] {
        (0..<request.options.choices).map { choice in
            var one = request
            one.options = request.options.ofChoice(choice)
            return submit(.generation(one), model: model) { deliver(choice, $0) }
        }
    }

    /// Ends all workers; what runs fails.
    package func close() {
        loop.submit { [catalogue] _ in catalogue.value.shutDown() }
    }
}

/// A request on its way.
package struct GenerationHandle: Sendable {
    package let id: GenerationID
    private let loop: LoopRemote
    private let catalogue: LoopBound<ModelCatalogue>

    init(id: GenerationID, loop: LoopRemote, catalogue: LoopBound<ModelCatalogue>) {
        self.id = id
        self.loop = loop
        self.catalogue = catalogue
    }

    /// The caller left: the request leaves its model before the next step. Late and repeated calls are fine.
    package func cancel() {
        loop.submit { [id, catalogue] _ in catalogue.value.cancel(id) }
    }
}

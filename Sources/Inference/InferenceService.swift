// The door to the models for every thread: the gateway's loops and handlers' host calls ask here.
package import Ledger
package import Platform
internal import Synchronization

/// Serves what clients ask of models. All models live on one loop; requests and events cross over as values.
package final class InferenceService: Sendable {
    private struct Directory {
        var models = ModelDirectory()
        var counters: [String: ModelCounters] = [:]
        /// Of each replica, by the reference of its version.
        var cells: [String: [StatusCell]] = [:]
    }

    private let loop: LoopRemote
    private let catalogue: LoopBound<ModelCatalogue>
    private let directory = Mutex(Directory())
    private let nextID = Atomic<UInt64>(1)
    private let board = MemoryBoard()
    private let logsAnswers: Bool
    private let usage: UsageLedger?

    /// - Parameters:
    ///   - loop: where the models' workers are read.
    ///   - quotas: of all tenants; without it nobody has any.
    ///   - budget: what the models' limits of memory may add up to.
    ///   - prefixes: of the same loop; without it they stay in their engines.
    ///   - responses: how much of answers is kept for requests that ask for it.
    ///   - usage: where what the host does with models by itself is written down.
    ///   - logsAnswers: writes a line of the host's log for each request that is over.
    ///   - start: starts a worker, on that loop; see `BackendWorker.start`.
    package init(
        loop: EventLoop, quotas: QuotaKeeper = QuotaKeeper(), budget: ModelBudget.Limits = ModelBudget.Limits(),
        prefixes: PrefixStore? = nil, responses: ResponseCacheLimits = ResponseCacheLimits(), usage: UsageLedger? = nil,
        logsAnswers: Bool = false, start: @escaping BackendStart
    ) {
        self.loop = loop.remote
        self.logsAnswers = logsAnswers
        self.usage = usage
        let memory = NodeMemory(limits: budget, report: board)
        catalogue = LoopBound(
            ModelCatalogue(
                loop: loop, quotas: quotas, memory: memory, prefixes: prefixes, responses: ResponseKeeper(responses),
                start: start), on: loop)
    }

    // MARK: the catalogue

    /// What can be named, by name: the latest version of each model.
    package var models: [ModelSpec] { directory.withLock(\.models.latest) }

    /// Every version that is kept.
    package var directoryOfModels: ModelDirectory { directory.withLock(\.models) }

    /// What a client means by `name` or `name@version`.
    package func model(named name: String) -> ModelSpec? { directory.withLock { $0.models[name] } }

    /// Replaces the catalogue. Running answers go on; versions that are gone unload when they have nothing left to do.
    ///
    /// - Parameter specs: the versions of one name newest first.
    package func setModels(_ specs: [ModelSpec]) {
        let models = ModelDirectory(specs)
        let (counters, cells) = directory.withLock { directory in
            directory.models = models
            var cells: [String: [StatusCell]] = [:]
            for spec in models.versions {
                if directory.counters[spec.name] == nil { directory.counters[spec.name] = ModelCounters(usage: usage) }
                cells[spec.reference] =
                    directory.cells[spec.reference] ?? (0..<max(1, spec.maxReplicas)).map { _ in StatusCell() }
            }
            directory.cells = cells
            return (directory.counters, cells)
        }
        loop.submit { [catalogue] _ in catalogue.value.replace(models, counters: counters, cells: cells) }
    }

    /// What the replicas of a version do at the moment.
    package func status(of spec: ModelSpec) -> ModelStatus {
        ModelStatus(replicas: directory.withLock { $0.cells[spec.reference] ?? [] }.map(\.now))
    }

    /// What models have reserved of this node.
    package var memory: MemoryReport { board.now }

    /// Changes what tenants and keys may take, from the next token on.
    package func setPolicies(_ policies: QuotaPolicies) {
        loop.submit { [catalogue] _ in catalogue.value.replace(policies) }
    }

    /// A tenant is gone: nothing of its prompts and answers is found again, in memory or on the disk, and what it took is forgotten.
    package func forget(_ tenant: String) {
        loop.submit { [catalogue] _ in catalogue.value.forget(tenant) }
    }

    /// The counters of every model that was ever in the catalogue, by name.
    package var metrics: [(name: String, values: ModelMetrics)] {
        directory.withLock(\.counters).map { ($0.key, $0.value.now) }.sorted { $0.name < $1.name }
    }

    // MARK: requests

    /// Makes `options.choices` answers; `deliver` is told which one an event belongs to.
    package func chat(
        _ request: ChatRequest, tenant: String, caching: ResponseCaching? = nil, meter: CallMeter? = nil,
        deliver: @escaping ChoiceSink
    ) -> [GenerationHandle] {
        let prompt = GenerationRequest.Prompt.chat(request.messages)
        return generate(
            GenerationRequest(tenant: tenant, prompt: prompt, options: request.options), model: request.model,
            caching: caching, meter: meter, deliver: deliver)
    }

    package func complete(
        _ request: CompletionRequest, tenant: String, caching: ResponseCaching? = nil, meter: CallMeter? = nil,
        deliver: @escaping ChoiceSink
    ) -> [GenerationHandle] {
        let prompt = GenerationRequest.Prompt.text(request.prompt)
        return generate(
            GenerationRequest(tenant: tenant, prompt: prompt, options: request.options), model: request.model,
            caching: caching, meter: meter, deliver: deliver)
    }

    /// Asks a model that works on tensors.
    package func infer(
        _ request: TensorRequest, model: String, meter: CallMeter? = nil, deliver: @escaping GenerationSink
    ) -> GenerationHandle {
        submit(.inference(request), model: model, meter: meter, deliver: deliver)
    }

    /// Asks a model for anything it may offer; its answer or refusal comes as events.
    ///
    /// - Parameter meter: told what it takes.
    package func submit(
        _ request: ModelRequest, model: String, caching: ResponseCaching? = nil, meter: CallMeter? = nil,
        deliver: @escaping GenerationSink
    ) -> GenerationHandle {
        let request = request.metered(by: meter)
        let id = GenerationID(nextID.wrappingAdd(1, ordering: .relaxed).oldValue)
        let sink = logsAnswers ? AnswerLog.logging(request, model: model, to: deliver) : deliver
        // Digested here, on the caller's thread: the models' loop has steps to send.
        let cached = caching.map { (caching: $0, key: request.responseKey(model: model)) }
        loop.submit { [catalogue] _ in
            catalogue.value.submit(id, model: model, request, caching: cached, sink: sink)
        }
        return GenerationHandle(id: id, loop: loop, catalogue: catalogue)
    }

    private func generate(
        _ request: GenerationRequest, model: String, caching: ResponseCaching?, meter: CallMeter?,
        deliver: @escaping ChoiceSink
    ) -> [GenerationHandle] {
        (0..<request.options.choices).map { choice in
            var one = request
            one.options = request.options.ofChoice(choice)
            return submit(.generation(one), model: model, caching: choice == 0 ? caching : nil, meter: meter) {
                deliver(choice, $0)
            }
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

// The models that can be named, each with its worker when it is awake. Loop-confined; InferenceService is its door.
internal import Core
internal import Platform
internal import Workers

final class ModelCatalogue {
    private let loop: EventLoop
    private let start: BackendStart
    private let quotas: QuotaKeeper
    private let leases: DeviceLeases
    private let memory: NodeMemory
    private let prefixes: PrefixStore?
    private let responses: ResponseKeeper
    private var counters: [String: ModelCounters] = [:]
    private var directory = ModelDirectory()
    /// By the reference of the version.
    private var groups: [String: ReplicaGroup] = [:]
    /// Taken out of the catalogue, still answering what they had begun.
    private var leaving: [ObjectIdentifier: ReplicaGroup] = [:]
    private var owners: [GenerationID: ServedModel] = [:]
    private var nextReplica: UInt64 = 1

    init(
        loop: EventLoop, quotas: QuotaKeeper, memory: NodeMemory, prefixes: PrefixStore?, responses: ResponseKeeper,
        start: @escaping BackendStart
    ) {
        self.quotas = quotas
        self.prefixes = prefixes
        self.responses = responses
        self.loop = loop
        leases = DeviceLeases(loop: loop)
        self.memory = memory
        self.start = start
    }

    /// Replaces the catalogue. A version that is new gets workers of its own; one that is gone finishes what it has.
    func replace(_ next: ModelDirectory, counters: [String: ModelCounters], cells: [String: [StatusCell]]) {
        directory = next
        var groups: [String: ReplicaGroup] = [:]
        for spec in next.versions {
            if let group = self.groups[spec.reference] {
                groups[spec.reference] = group
            } else if let counters = counters[spec.name], let cells = cells[spec.reference] {
                groups[spec.reference] = group(spec, counters, cells)
            }
        }
        let old = self.groups.values.filter { groups[$0.spec.reference] !== $0 }
        self.groups = groups
        self.counters = counters
        let artefacts = Set(next.versions.map(\.worker.directory))
        responses.keep { _, artefact in artefacts.contains(artefact) }
        // First those that give memory back.
        for group in old {
            if !group.isCold { leaving[ObjectIdentifier(group)] = group }
            group.retire()
        }
        for spec in next.versions where !spec.isLatest { groups[spec.reference]?.rename(spec) }
        for spec in next.latest { groups[spec.reference]?.rename(spec) }
    }

    private func group(_ spec: ModelSpec, _ counters: ModelCounters, _ cells: [StatusCell]) -> ReplicaGroup {
        ReplicaGroup(spec, loop: loop) { number, changed in
            defer { nextReplica += 1 }
            return ServedModel(
                ReplicaID(nextReplica), spec, loop: loop, memory: memory, counters: counters, cell: cells[number],
                quotas: quotas, prefixes: prefixes, leases: leases, start: start, changed: changed)
        } cold: { [weak self] group in
            self?.leaving[ObjectIdentifier(group)] = nil
        }
    }

    func submit(
        _ id: GenerationID, model name: String, _ request: ModelRequest,
        caching: (caching: ResponseCaching, key: String?)? = nil, sink: @escaping GenerationSink
    ) {
        guard let spec = directory[name], let group = groups[spec.reference] else {
            return sink(.failed(.modelNotFound(name)))
        }
        let entry: QuotaEntry
        do throws(OpenAIError) {
            entry = try quotas.enter(request.payer)
        } catch {
            return sink(.failed(error))
        }
        var sink = sink
        if let caching {
            guard let rest = serve(request, caching, of: group.spec, sink) else { return quotas.leave(entry) }
            sink = rest
        }
        let model = group.replica(for: request)
        owners[id] = model
        let own = LoopBound(self, on: loop)
        model.submit(id, request) { [sink] event in
            // The sink runs on this loop, whoever it belongs to.
            if event.isLast {
                own.value.owners[id] = nil
                own.value.quotas.leave(entry)
            }
            sink(event)
        }
    }

    /// Gives the answer that is kept; else returns the sink that keeps the one to be made.
    private func serve(
        _ request: ModelRequest, _ caching: (caching: ResponseCaching, key: String?), of spec: ModelSpec,
        _ sink: @escaping GenerationSink
    ) -> GenerationSink? {
        guard !responses.isOff, let digest = caching.key else {
            caching.caching.report(.bypass)
            return sink
        }
        // With the artefact that answers: what another version said is no answer of this one.
        let artefact = spec.worker.directory
        let key = digest + artefact
        let standing = quotas.standing(of: request.payer)
        guard let (events, age) = responses.find(key, caching.caching, standing: standing) else {
            counters[spec.name]?.update { $0.responseMisses += 1 }
            caching.caching.report(.miss)
            return responses.recording(
                key, tenant: request.tenant, model: artefact, maxAge: caching.caching.maxAge, on: loop, to: sink)
        }
        counters[spec.name]?.update {
            $0.requests += 1
            $0.responseHits += 1
        }
        caching.caching.report(.hit(age: age))
        for event in events { sink(event) }
        return nil
    }

    func replace(_ policies: QuotaPolicies) {
        // A tenant that the file named, and does not any more, is gone.
        let gone = quotas.replace(policies)
        for tenant in gone { forgetTexts(of: tenant) }
    }

    /// A tenant was deleted: drops what is kept of its prompts and answers, and what it took.
    func forget(_ gone: String) {
        forgetTexts(of: gone)
        quotas.forget(gone)
    }

    private func forgetTexts(of gone: String) {
        prefixes?.forget(gone)
        responses.keep { tenant, _ in tenant != gone }
    }

    func cancel(_ id: GenerationID) { owners[id]?.cancel(id) }

    /// Ends all workers.
    func shutDown() {
        for group in groups.values { group.shutDown() }
        for group in leaving.values { group.shutDown() }
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

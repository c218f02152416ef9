// One replica of a model: does what ModelLifecycle decides, and gives the loaded model its ModelWork.
internal import Ledger
internal import Platform
internal import Workers

/// Starts a worker for a model, or returns nil and sends `.exited` later. Events never come before it has returned.
package typealias BackendStart = (ModelSpec, _ sink: @escaping (BackendEvent) -> Void) -> (any BackendConnection)?

/// Loop-confined.
final class ServedModel {
    private struct Waiter {
        let request: ModelRequest
        let sink: GenerationSink
        let arrived: MonotonicTime
    }

    let id: ReplicaID
    let spec: ModelSpec
    private let loop: EventLoop
    private let memory: NodeMemory
    private let cell: StatusCell
    private let start: BackendStart
    private let counters: ModelCounters
    private let quotas: QuotaKeeper
    private let prefixes: PrefixStore?
    private let leases: DeviceLeases
    private let changed: (ServedModel) -> Void

    private var lifecycle: ModelLifecycle
    private var room: WaitingRoom
    private var waiters: [GenerationID: Waiter] = [:]
    private var connection: (any BackendConnection)?
    private var work: (any ModelWork)?
    /// Counts starts, so that a late word of an old worker isn't taken for the new one's.
    private var incarnation: UInt64 = 0
    private var loadBegan = MonotonicTime(nanoseconds: 0)
    private var timer: TimerToken?
    private var shuttingDown = false
    /// Why this worker is being ended, when that is it.
    private var overuse: DeviceOveruse?

    private(set) var status = ReplicaStatus()
    /// A replica beside a loaded one takes only memory that nobody else wants.
    private var isSpare = false
    private var wasIdle = false

    /// - Parameter changed: called after everything that happens to it.
    init(
        _ id: ReplicaID, _ spec: ModelSpec, loop: EventLoop, memory: NodeMemory, counters: ModelCounters,
        cell: StatusCell, quotas: QuotaKeeper, prefixes: PrefixStore?, leases: DeviceLeases,
        start: @escaping BackendStart, changed: @escaping (ServedModel) -> Void
    ) {
        self.id = id
        self.spec = spec
        self.loop = loop
        self.memory = memory
        self.cell = cell
        self.counters = counters
        self.quotas = quotas
        self.prefixes = prefixes
        self.leases = leases
        self.start = start
        self.changed = changed
        lifecycle = ModelLifecycle(policy: spec.lifecyclePolicy)
        room = WaitingRoom(maxInAll: spec.maxWaiting, maxPerTenant: spec.maxWaitingPerTenant)
    }

    var isCold: Bool { lifecycle.state == .cold }
    var need: ModelBudget.Need { spec.memoryNeed }
    /// Requests that run or wait.
    var load: Int { status.active + status.waiting }

    var readiness: ReplicaChoice.Readiness {
        switch lifecycle.state {
        case .ready: .ready
        case .queued, .loading, .unloading: .coming
        case .cold: lifecycle.blockedUntil(.now) == nil ? .asleep : .blocked
        }
    }

    // MARK: requests

    func submit(_ id: GenerationID, _ request: ModelRequest, sink: @escaping GenerationSink) {
        counters.update { $0.requests += 1 }
        do throws(OpenAIError) {
            try room.enter(id, tenant: request.tenant)
        } catch {
            counters.update { $0.refused += 1 }
            return sink(.failed(error))
        }
        waiters[id] = Waiter(request: request, sink: sink, arrived: .now)
        if work == nil { request.meter?.add { $0.isCold = true } }
        if work == nil { sink(.queued(loading: true)) } else { sink(.queued(loading: false)) }
        handle(.request(id))
    }

    func cancel(_ id: GenerationID) {
        if let waiter = waiters.removeValue(forKey: id) {
            room.leave(id)
            counters.update { $0.cancelled += 1 }
            waiter.sink(.finished(.cancelled, TokenUsage(), GenerationTimings()))
            return handle(.cancelled(id))
        }
        work?.cancel(id)
    }

    /// Unloads as soon as nothing runs or waits.
    func retire() { handle(.retire) }
    /// The same, and it may be asked again later; false takes that back.
    func hurry(_ yes: Bool) { handle(.hurry(yes)) }
    func keep(_ kept: Bool) { handle(.keep(kept)) }
    /// Loads it, if there is memory that nobody else wants.
    func warmAsSpare() {
        isSpare = true
        handle(.warm)
        isSpare = false
    }

    // MARK: what the node's memory says

    func grant() { handle(.room) }
    func deny(_ cause: String) { handle(.noRoom(cause)) }
    func evict() {
        Log.info("an idle model is unloaded for another", [("model", spec.name), ("version", spec.version)])
        handle(.evict)
    }

    /// Ends the worker now; its requests fail.
    func shutDown() {
        shuttingDown = true
        retire()
        connection?.close()
    }

    // MARK: the lifecycle

    private func handle(_ event: ModelLifecycle.Event) {
        for action in lifecycle.handle(event, now: .now) { perform(action) }
        publish()
    }

    private func perform(_ action: ModelLifecycle.Action) {
        switch action {
        case .reserve: if isSpare { memory.wantSpare(self) } else { memory.want(self) }
        case .release: memory.giveUp(self)
        case .start: startWorker()
        case .close:
            memory.leaving(self)
            counters.update { $0.unloads += 1 }
            connection?.close()
        case .run(let ids): run(ids)
        case .refuse(let ids, let refusal): refuse(ids, refusal)
        case .wake(let time):
            if let timer { loop.cancel(timer) }
            timer = loop.schedule(at: time) { [weak self] in self?.handle(.tick) }
        }
    }

    private func startWorker() {
        incarnation += 1
        overuse = nil
        loadBegan = .now
        if spec.worker.makesCode { Log.info("a model's worker may write machine code (jit)", [("model", spec.name)]) }
        connection = start(spec) { [weak self, incarnation] event in
            guard let self, self.incarnation == incarnation else { return }
            received(event)
        }
    }

    private func run(_ ids: [GenerationID]) {
        for id in ids {
            guard let work, let waiter = waiters.removeValue(forKey: id) else { continue }
            let waited = MonotonicTime.now.since(waiter.arrived)
            work.model.entered(id, tenant: waiter.request.tenant)
            work.submit(id, waiter.request, loadNanoseconds: waited, sink: waiter.sink)
        }
    }

    private func refuse(_ ids: [GenerationID], _ refusal: ModelLifecycle.Refusal) {
        let error: OpenAIError =
            switch refusal {
            case .loadFailed(let cause):
                .modelUnavailable(spec.name, "can't be loaded: \(cause)", retryAfterMilliseconds: 1000)
            case .backingOff(let cause, let wait):
                .modelUnavailable(
                    spec.name, "keeps failing; next try in \(wait) ms: \(cause)", retryAfterMilliseconds: wait)
            case .noRoom(let cause): .modelUnavailable(spec.name, cause, retryAfterMilliseconds: 5000)
            }
        counters.update { $0.failed += UInt64(ids.count) }
        for id in ids {
            room.leave(id)
            waiters.removeValue(forKey: id)?.sink(.failed(error))
        }
    }

    // MARK: the worker

    private func received(_ event: BackendEvent) {
        switch event {
        case .ready(let info): ready(info)
        case .failed(let cause):
            Log.error("a model can't be loaded", [("model", spec.name), ("cause", cause)])
            counters.update { $0.crashes += 1 }
            handle(.failed(cause))
        case .result(let request, let status, let payload):
            work?.model.received(request, status: status, payload: payload)
        case .log(let level, let text):
            if level >= 2 { Log.error(text, [("model", spec.name)]) } else { Log.info(text, [("model", spec.name)]) }
        case .overBudget(let overuse): overran(overuse)
        case .exited(let cause): exited(cause)
        }
    }

    private func ready(_ info: ModelInfo) {
        // Given up in the meantime: its end is on the way.
        guard let connection, case .loading = lifecycle.state else { return }
        let took = MonotonicTime.now.since(loadBegan)
        counters.update {
            $0.loads += 1
            $0.loadNanoseconds += took
            $0.histograms.load.observe(took)
        }
        work = makeWork(info, connection)
        handle(.loaded)
    }

    private func makeWork(_ info: ModelInfo, _ connection: any BackendConnection) -> any ModelWork {
        let model = LoadedModel(
            spec, info: info, connection: connection, counters: counters, quotas: quotas, loop: loop, leases: leases,
            started: { [unowned self] id in begun(id) },
            ended: { [unowned self] id in
                room.leave(id)
                handle(.finished)
            },
            broken: { [weak self, incarnation] cause in
                guard let self, self.incarnation == incarnation, work != nil else { return }
                gaveUp(cause)
            })
        return info.isForTensors ? TensorRunner(model, loop: loop) : ModelDesk(model, prefixes: prefixes)
    }

    /// Its worker was ended for what it did: callers know at once, and who comes next waits for another one.
    private func gaveUp(_ cause: String) {
        counters.update { $0.crashes += 1 }
        failWork(.modelFailed(spec.name, cause))
        handle(.failed(cause))
    }

    private func failWork(_ error: OpenAIError) {
        let lost = work
        work = nil
        lost?.model.end()
        for id in lost?.failAll(error) ?? [] { room.leave(id) }
    }

    /// A request has its place.
    private func begun(_ id: GenerationID) {
        room.leave(id)
        publish()
    }

    private func overran(_ overuse: DeviceOveruse) {
        guard self.overuse == nil else { return }
        self.overuse = overuse
        Log.error("a model takes more of its device than its share, and is ended", [("cause", "\(overuse)")])
        counters.update { $0.overBudget += 1 }
    }

    private func exited(_ cause: String) {
        if lifecycle.state != .unloading, !shuttingDown {
            Log.error("a model's worker ended unexpectedly", [("model", spec.name), ("cause", cause)])
            counters.update { $0.crashes += 1 }
        }
        connection = nil
        if let timer { loop.cancel(timer) }
        timer = nil
        let error: OpenAIError = overuse.map { .overBudget(spec.name, $0) } ?? .modelFailed(spec.name, cause)
        failWork(error)
        memory.gone(self)
        handle(.exited(cause))
    }

    private func publish() {
        var next = ReplicaStatus()
        next.waiting = room.count
        next.incident = lifecycle.incident
        switch lifecycle.state {
        case .cold: next.phase = .cold
        case .queued: next.phase = .queued
        case .loading: next.phase = .loading
        case .ready(let active, _):
            next.phase = .ready
            // The lifecycle counts those that wait for a place, too.
            next.active = max(0, active - room.count)
        case .unloading: next.phase = .unloading
        }
        next.since = next.phase == status.phase ? status.since : .now
        if next != status { replaceStatus(next) }
        tellMemory()
        changed(self)
    }

    private func replaceStatus(_ next: ReplicaStatus) {
        let last = status
        status = next
        cell.set(next)
        counters.update {
            $0.waiting += next.waiting - last.waiting
            $0.loaded += (next.phase == .ready ? 1 : 0) - (last.phase == .ready ? 1 : 0)
            $0.inIncident += (next.incident == nil ? 0 : 1) - (last.incident == nil ? 0 : 1)
        }
        report(last.incident, next.incident)
    }

    private func report(_ last: ModelLifecycle.Incident?, _ next: ModelLifecycle.Incident?) {
        switch (last, next) {
        case (nil, let incident?):
            counters.update { $0.incidents += 1 }
            let wait = incident.nextTry.since(.now) / 1_000_000
            Log.error(
                "a model's worker keeps dying; loading it is put off",
                [
                    ("kind", "incident"), ("model", spec.name), ("version", spec.version), ("replica", "\(id.value)"),
                    ("count", "\(incident.crashes)"), ("cause", incident.cause), ("next_try_ms", "\(wait)"),
                ])
        case (_?, nil):
            Log.info("a model's worker lives again", [("kind", "incident_over"), ("model", spec.name)])
        default: return
        }
    }

    private func tellMemory() {
        var isIdle = false
        if case .ready(0, _) = lifecycle.state { isIdle = !lifecycle.isKept }
        guard isIdle != wasIdle else { return }
        wasIdle = isIdle
        if isIdle { memory.idle(self) } else { memory.busy(self) }
    }
}

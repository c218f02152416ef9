// One model of the catalogue at work: does what ModelLifecycle decides, and gives loaded models their ModelWork.
internal import Platform
internal import SwiftletABI
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

    let spec: ModelSpec
    private let loop: EventLoop
    private let start: BackendStart
    private let counters: ModelCounters
    private let quotas: QuotaKeeper
    private let cold: (ServedModel) -> Void

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

    /// - Parameter cold: called whenever no worker is left.
    init(
        _ spec: ModelSpec, loop: EventLoop, counters: ModelCounters, quotas: QuotaKeeper,
        start: @escaping BackendStart, cold: @escaping (ServedModel) -> Void
    ) {
        self.spec = spec
        self.loop = loop
        self.counters = counters
        self.quotas = quotas
        self.start = start
        self.cold = cold
        lifecycle = ModelLifecycle(policy: spec.lifecyclePolicy)
        room = WaitingRoom(maxInAll: spec.maxWaiting, maxPerTenant: spec.maxWaitingPerTenant)
    }

    var isCold: Bool { lifecycle.state == .cold }

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
        case .start: startWorker()
        case .close:
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
        case .result(let request, let status, let payload): work?.received(request, status: status, payload: payload)
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
        // What can do both is served as a language model.
        if Int(info.capabilities) & Int(SWIFTLET_CAN_INFER | SWIFTLET_CAN_GENERATE) == Int(SWIFTLET_CAN_INFER) {
            return TensorRunner(
                spec, loop: loop, connection: connection, counters: counters, quotas: quotas,
                started: { [unowned self] id in room.leave(id) },
                ended: { [unowned self] id in
                    room.leave(id)
                    handle(.finished)
                })
        }
        return ModelDesk(
            spec, info: info, connection: connection, counters: counters, quotas: quotas,
            started: { [unowned self] id in room.leave(id) },
            ended: { [unowned self] id in
                room.leave(id)
                handle(.finished)
            })
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
        let lost = work
        work = nil
        connection = nil
        if let timer { loop.cancel(timer) }
        timer = nil
        let error: OpenAIError = overuse.map { .overBudget(spec.name, $0) } ?? .modelFailed(spec.name, cause)
        for id in lost?.failAll(error) ?? [] { room.leave(id) }
        handle(.exited(cause))
        if isCold { cold(self) }
    }

    private func publish() {
        let waiting = room.count
        let phase: ModelMetrics.Phase =
            switch lifecycle.state {
            case .cold: .cold
            case .loading: .loading
            case .ready: .ready
            case .unloading: .unloading
            }
        counters.update {
            $0.waiting = waiting
            $0.phase = phase
        }
    }
}

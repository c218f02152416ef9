// Acts on what FunctionQueue decides: leases, starts, retires. Any loop may ask; the answer comes on the same loop.
package import Core
package import Platform
internal import Synchronization
package import Workers

/// Hands out workers.
package final class Dispatcher: Sendable {
    package typealias Answer = @Sendable (EventLoop, Result<Lease, RuntimeError>, Place) -> Void

    let host: WorkerHost
    let control: LoopRemote
    let state: Mutex<State>
    let memoryBounds: @Sendable (_ tenant: String) -> [MemoryBound]

    /// - Parameters:
    ///   - control: the loop that keeps the timers.
    ///   - restartRate: workers a second that may replace dead ones, for each function; 0 is no bound.
    ///   - memoryBounds: what holds for a tenant's workers now.
    package init(
        host: WorkerHost, control: LoopRemote, restartRate: Double,
        memoryBounds: @escaping @Sendable (_ tenant: String) -> [MemoryBound] = { _ in [] }
    ) {
        self.memoryBounds = memoryBounds
        self.host = host
        self.control = control
        state = Mutex(State(restarts: RestartBudget(rate: restartRate)))
    }

    /// Finds a worker for one invocation. `answer` runs on `loop`: at once when a worker is idle or can be started.
    ///
    /// - Parameters:
    ///   - mayGoAhead: true when one frame holds all of it, so that it may be sent to a worker that serves another still.
    ///   - mayWait: false: no worker at once is an answer, `queue_full`.
    ///   - again: true when it was, and the worker ended before its turn.
    package func acquire(
        _ spec: WorkerSpec, idleMilliseconds: UInt64, mayGoAhead: Bool = false, mayWait: Bool = true,
        again: Bool = false,
        on loop: EventLoop, answer: @escaping Answer
    ) {
        let ticket = Ticket(loop: loop.remote, spec: spec, mayGoAhead: mayGoAhead, answer: answer)
        let now = loop.now
        let (arrival, worker, due) = state.withLock {
            state -> (FunctionQueue<Ticket>.Arrival, Worker?, MonotonicTime?) in
            guard !state.closing || again else { return (.refuse, nil, nil) }
            let function = state.function(of: spec, idleMilliseconds: idleMilliseconds)
            let (arrival, due) = function.arrive(ticket, mayWait: mayWait, again: again, now: now)
            guard case .lease(let number) = arrival else { return (arrival, nil, state.rearm(for: due)) }
            return (arrival, function.workers[number], nil)
        }
        switch arrival {
        case .lease:
            guard let worker else { return answer(loop, .failure(Self.vanished), .first) }
            answer(loop, .success(Lease(worker: worker, isCold: false)), .first)
        case .start:
            let result = start(spec)
            if Self.isOverMemory(result), wait(ticket, mayWait: mayWait, now: now) { return }
            answer(loop, result, .first)
            if case .failure = result { return replace(spec.pool, ended: nil) }
            prepareSpares(spec)
        case .wait: if let due { wake(at: due) }
        case .refuse: answer(loop, .failure(Self.queueFull(spec)), .first)
        }
    }

    /// True when a waiting invocation should get this worker before anything else is done.
    ///
    /// - Parameter nanoseconds: how long the worker took for what it has just finished.
    package func isAwaited(_ worker: Worker, afterRun nanoseconds: UInt64) -> Bool {
        state.withLock {
            $0.functions[worker.spec.pool]?.isAwaited(worker.number, afterRun: nanoseconds) ?? false
        }
    }

    /// Sends what waits and may go ahead to the worker of `front`, the invocation that runs there, behind it.
    func sendAhead(behind front: InvocationRun, in worker: Worker, on loop: EventLoop) {
        let here = loop.remote
        while true {
            let count = front.followers
            let ticket = state.withLock { state in
                state.functions[worker.spec.pool]?.queue.ahead(
                    worker.number, behind: count, where: { $0.mayGoAhead && $0.loop === here })
            }
            guard let ticket else { return }
            ticket.answer(loop, .success(Lease(worker: worker, isCold: false)), .behind(front))
        }
    }

    /// Gives back a worker that finished its invocation and may serve another.
    ///
    /// A waiting invocation of the same loop gets it at once, with the channel as it is: no loop has to be woken, and
    /// nothing registered again. `channel` is detached in all other cases.
    package func release(_ worker: Worker, channel: WorkerChannel?, on loop: EventLoop) {
        let (here, now) = (loop.remote, loop.now)
        let (freed, due) = state.withLock { state -> (Freed, MonotonicTime?) in
            guard let function = state.functions[worker.spec.pool] else { return (.idle, nil) }
            let (freed, due) = function.release(worker.number, now: now, preferred: { $0.loop === here })
            return (freed, state.rearm(for: due))
        }
        guard case .lent(let ticket) = freed, ticket.loop === here else {
            channel?.detach()
            return passOn(worker, freed, due, on: loop)
        }
        let isClear = channel?.isClear == true
        if !isClear { channel?.detach() }
        ticket.answer(
            loop, .success(Lease(worker: worker, isCold: false)), isClear ? channel.map(Place.open) ?? .first : .first)
    }

    private func passOn(_ worker: Worker, _ freed: Freed, _ due: MonotonicTime?, on loop: EventLoop) {
        // Waking the control loop can wait until the answer is on its way.
        switch freed {
        case .lent(let ticket):
            ticket.loop.submit { loop in ticket.answer(loop, .success(Lease(worker: worker, isCold: false)), .first) }
        case .idle:
            if let due { loop.afterBatch { [self] in wake(at: due) } }
        case .last:
            dismissIfLast(worker, now: loop.now)
            loop.afterBatch { [self] in armTimer(worker.spec.pool) }
        }
    }

    /// What follows a cold start when its invocation no longer waits for the machine.
    package func settle(_ worker: Worker) { host.settle(worker) }

    /// Ends a worker that must not serve again: it broke the protocol, or its invocation was given up.
    package func discard(_ worker: Worker) { host.kill(worker) }

    /// Asks a worker to end that has done its last invocation.
    private func dismissIfLast(_ worker: Worker, now: MonotonicTime) {
        let pool = worker.spec.pool
        let (isLast, next) = state.withLock { state -> (Bool, FunctionQueue<Ticket>.Next?) in
            state.functions[pool]?.dismissIfLast(worker.number, now: now) ?? (false, nil)
        }
        guard isLast else { return }
        host.retire(worker)
        if !serve(next, of: pool) { replace(pool, ended: nil) }
        prepareSpares(worker.spec)
    }

    /// Starts workers ahead, off the path.
    private func prepareSpares(_ spec: WorkerSpec) {
        guard spec.purpose == .fresh else { return }
        control.submit { [self] loop in
            let count = state.withLock { state in
                guard !state.closing, state.restarts.wait(for: spec.key, now: loop.now) == nil else { return 0 }
                return state.functions[spec.pool]?.queue.spares(now: loop.now) ?? 0
            }
            for _ in 0..<count {
                guard makeRoom(for: spec, ending: false) == nil, let worker = try? host.start(spec) else {
                    state.withLock { $0.functions[spec.pool]?.queue.spareFailed() }
                    continue
                }
                let next = state.withLock { state in
                    state.functions[spec.pool]?.workers[worker.number] = worker
                    return state.functions[spec.pool]?.queue.prepared(worker.number, now: loop.now)
                }
                worker.whenExited { [self] exit in noteEnd(worker, exit) }
                if !serve(next, of: spec.pool) { replace(spec.pool, ended: nil) }
            }
            armTimer(spec.pool)
        }
    }

    /// The same for all workers whose function has changed or gone.
    package func outdate(where isStale: (WorkerSpec) -> Bool) {
        outdate(
            state.withLock { state in
                state.functions.values.flatMap { $0.workers.values }.filter { isStale($0.spec) }
            })
    }

    /// Gives these workers no further invocation: idle ones end now, busy ones after theirs.
    package func outdate(_ workers: [Worker]) {
        let numbers = Set(workers.map(\.number))
        let now = MonotonicTime.now
        let asked = state.withLock { state in
            Set(workers.map(\.spec.pool)).flatMap { state.functions[$0]?.queue.outdate(numbers, now: now) ?? [] }
        }
        for worker in workers where asked.contains(worker.number) { host.retire(worker) }
        armTimer()
    }

    /// Refuses new work from now on.
    package func close() { state.withLock { $0.closing = true } }

    /// Invocations that wait, and live workers, over all functions.
    package var load: (waiting: Int, live: Int) {
        state.withLock { state in
            state.functions.values.reduce((0, 0)) { ($0.0 + $1.queue.waitingCount, $0.1 + $1.queue.live) }
        }
    }

    /// Starts that were refused because workers die.
    package var refusedStarts: UInt64 { state.withLock(\.refusedStarts) }

    /// A failure leaves its place in the queue's count: `replace` it.
    private func start(_ spec: WorkerSpec) -> Result<Lease, RuntimeError> {
        let wait = state.withLock { state in
            let wait = state.restarts.wait(for: spec.key, now: .now)
            if wait != nil { state.refusedStarts += 1 }
            return wait
        }
        if let wait { return .failure(Self.crashLoop(spec, wait)) }
        if let refusal = makeRoom(for: spec, ending: true) { return .failure(refusal) }
        do {
            let worker = try host.start(spec)
            state.withLock { $0.functions[spec.pool]?.workers[worker.number] = worker }
            worker.whenExited { [self] exit in noteEnd(worker, exit) }
            return .success(Lease(worker: worker, isCold: true))
        } catch {
            return .failure(error)
        }
    }

    private func noteEnd(_ worker: Worker, _ exit: WorkerExit) {
        state.withLock { state in
            _ = state.functions[worker.spec.pool]?.workers.removeValue(forKey: worker.number)
            // Its function may be gone by now: then nobody will start another.
            guard state.functions[worker.spec.pool]?.queue.isNeeded(worker.number) == true else { return }
            state.restarts.died(worker.spec.key, cause: exit.words(limits: worker.spec.limits), now: .now)
        }
        replace(worker.spec.pool, ended: worker.number)
    }

    /// A place is free: whoever has waited longest starts a worker in it.
    private func replace(_ pool: WorkerSpec.Pool, ended worker: UInt32?) {
        var ended = worker
        // In turns, since whoever can't start frees the place again.
        while true {
            let next = state.withLock { state -> FunctionQueue<Ticket>.Next? in
                let next = state.functions[pool]?.queue.ended(ended)
                if state.functions[pool]?.queue.isEmpty == true { state.functions[pool] = nil }
                return next
            }
            if serve(next, of: pool) { return }
            ended = nil
        }
    }

    /// - Returns: false when a start failed: its place is free.
    private func serve(_ next: FunctionQueue<Ticket>.Next?, of pool: WorkerSpec.Pool) -> Bool {
        switch next {
        case nil: return true
        case .start(let ticket):
            let result = start(ticket.spec)
            if Self.isOverMemory(result), wait(ticket, mayWait: true, now: .now) { return true }
            ticket.loop.submit { loop in ticket.answer(loop, result, .first) }
            if case .failure = result { return false }
        case .lease(let ticket, let number):
            let worker = state.withLock { $0.functions[pool]?.workers[number] }
            let result = worker.map { Lease(worker: $0, isCold: false) }
            ticket.loop.submit { loop in
                ticket.answer(loop, result.map { .success($0) } ?? .failure(Self.vanished), .first)
            }
        }
        return true
    }

    func armTimer(_ pool: WorkerSpec.Pool? = nil) {
        let due = state.withLock { state in
            state.rearm(
                for: pool.map { state.functions[$0]?.queue.nextDue }
                    ?? state.functions.values.compactMap(\.queue.nextDue).min())
        }
        if let due { wake(at: due) }
    }

    func wake(at due: MonotonicTime) {
        control.submit { [self] loop in loop.schedule(at: due) { [self, unowned loop] in tick(now: loop.now) } }
    }

    private func tick(now: MonotonicTime) {
        var expired: [Ticket] = []
        var retired: [Worker] = []
        var overdue: [Worker] = []
        state.withLock { state in
            state.timer = .distantFuture
            for function in state.functions.values {
                expired += function.queue.expire(now: now)
                retired += function.queue.retire(now: now).compactMap { function.workers[$0] }
                overdue += function.queue.overdue(now: now).compactMap { function.workers[$0] }
            }
        }
        for worker in retired { host.retire(worker) }
        for worker in overdue { host.kill(worker) }
        for ticket in expired {
            ticket.loop.submit { loop in ticket.answer(loop, .failure(Self.waitedTooLong(ticket.spec)), .first) }
        }
        armTimer()
    }
}

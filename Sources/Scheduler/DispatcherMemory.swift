// Memory of live workers: room is made before one starts, and where there is none an invocation waits for one that lives.
internal import Core
internal import Platform
internal import Synchronization
internal import Workers

extension Dispatcher {
    /// Sees to it that a worker, which counts as live already, fits into what its tenant may have.
    ///
    /// - Parameter ending: true: idle workers of other functions end for it.
    func makeRoom(for spec: WorkerSpec, ending: Bool) -> RuntimeError? {
        let now = MonotonicTime.now
        for bound in memoryBounds(spec.key.tenant) {
            let (fits, ended) = state.withLock { $0.makeRoom(bound, ending: ending, now: now) }
            for worker in ended { host.retire(worker) }
            if !ended.isEmpty { control.submit { [self] _ in armTimer() } }
            if !fits { return bound.refusal(spec.key, spec.limits) }
        }
        return nil
    }

    static func isOverMemory(_ result: Result<Lease, RuntimeError>) -> Bool {
        guard case .failure(let error) = result else { return false }
        return error.limit?.kind == .memory
    }

    /// Where no worker may start, one that lives already will do. False: there is none.
    func wait(_ ticket: Ticket, mayWait: Bool, now: MonotonicTime) -> Bool {
        let (waits, due) = state.withLock { state -> (Bool, MonotonicTime?) in
            guard let function = state.functions[ticket.spec.pool],
                function.queue.waitInstead(ticket, mayWait: mayWait, now: now)
            else { return (false, nil) }
            return (true, state.rearm(for: function.queue.nextDue))
        }
        if let due { wake(at: due) }
        return waits
    }
}

extension Dispatcher.State {
    /// Whether all that counts fits; if not, idle workers that are to end for it, as many as are needed.
    mutating func makeRoom(_ bound: MemoryBound, ending: Bool, now: MonotonicTime) -> (fits: Bool, ended: [Worker]) {
        let counted = functions.values.filter { bound.counts($0.key) }
        var held = counted.reduce(0) { $0 + UInt64($1.queue.staying) * $1.memoryBytes }
        var chosen: [(function: Dispatcher.Function, worker: UInt32)] = []
        for function in counted where ending {
            for worker in function.queue.idleWorkers where held > bound.bytes {
                chosen.append((function, worker))
                held -= function.memoryBytes
            }
        }
        guard held <= bound.bytes else { return (false, []) }
        let ended = chosen.compactMap { function, worker in
            function.queue.outdate([worker], now: now).isEmpty ? nil : function.workers[worker]
        }
        return (true, ended)
    }
}

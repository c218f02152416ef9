// What the dispatcher knows, under one lock: each function's queue and workers.
internal import Core
internal import Platform
package import Workers

/// What an invocation gets to run in.
package struct Lease: Sendable {
    package let worker: Worker
    /// True when the worker was started for this invocation.
    package let isCold: Bool
    /// True when it has still to say that it is ready: it serves for the first time.
    let awaitsReady: Bool

    init(worker: Worker, isCold: Bool) {
        self.worker = worker
        self.isCold = isCold
        awaitsReady = !worker.isReady
    }
}

/// Where an invocation stands in its worker.
package enum Place {
    /// Its worker's channel is nobody's yet.
    case first
    /// The same, and the channel is registered with the invocation's loop already.
    case open(WorkerChannel)
    /// Sent ahead of its turn. It is not a lease of its own: nothing is to be given back.
    case behind(InvocationRun)
}

extension Dispatcher {
    /// A class, because the queue moves it about.
    final class Ticket: Sendable {
        let loop: LoopRemote
        let spec: WorkerSpec
        let mayGoAhead: Bool
        let answer: Answer

        init(loop: LoopRemote, spec: WorkerSpec, mayGoAhead: Bool, answer: @escaping Answer) {
            self.loop = loop
            self.spec = spec
            self.mayGoAhead = mayGoAhead
            self.answer = answer
        }
    }

    /// One entry of the table. A class, so that one look-up serves for all that is asked of it.
    final class Function {
        var queue: FunctionQueue<Ticket>
        var workers: [UInt32: Worker] = [:]
        /// Of the function for which it was made; those that share its workers are of the same tenant.
        let key: FunctionKey
        let memoryBytes: UInt64

        init(_ queue: FunctionQueue<Ticket>, _ spec: WorkerSpec) {
            self.queue = queue
            key = spec.key
            memoryBytes = spec.limits.memoryBytes
        }

        func arrive(
            _ ticket: Ticket, mayWait: Bool, again: Bool, now: MonotonicTime
        ) -> (FunctionQueue<Ticket>.Arrival, due: MonotonicTime?) {
            // One access to the queue for all: each by itself would copy it.
            func arrive(in queue: inout FunctionQueue<Ticket>) -> (FunctionQueue<Ticket>.Arrival, MonotonicTime?) {
                let arrival =
                    again ? queue.comeBack(ticket, now: now) : queue.arrive(ticket, mayWait: mayWait, now: now)
                guard case .wait = arrival else { return (arrival, nil) }
                return (arrival, queue.nextDue)
            }
            return arrive(in: &queue)
        }

        /// True when an invocation waits that this worker may serve.
        func isAwaited(_ worker: UInt32, afterRun nanoseconds: UInt64) -> Bool {
            queue.ran(nanoseconds)
            return queue.waitingCount > 0 && !queue.isLast(worker)
        }

        func release(
            _ worker: UInt32, now: MonotonicTime, preferred: (Ticket) -> Bool
        ) -> (Freed, due: MonotonicTime?) {
            // Its end may have been told first, on the control loop: the queue has forgotten it and must not lend it.
            guard workers[worker] != nil else { return (.idle, nil) }
            func release(in queue: inout FunctionQueue<Ticket>) -> (Freed, MonotonicTime?) {
                if queue.isLast(worker) { return (.last, nil) }
                if let ticket = queue.release(worker, now: now, preferred: preferred) { return (.lent(ticket), nil) }
                return (.idle, queue.nextDue)
            }
            return release(in: &queue)
        }

        func dismissIfLast(_ worker: UInt32, now: MonotonicTime) -> (Bool, FunctionQueue<Ticket>.Next?) {
            guard workers[worker] != nil, queue.isLast(worker) else { return (false, nil) }
            return (true, queue.dismiss(worker, now: now))
        }
    }

    /// What becomes of a worker that has finished an invocation.
    enum Freed {
        case lent(Ticket)
        case idle
        /// It must not serve again.
        case last
    }

    struct State {
        // By pool: a new deployment of a function is a function of its own, so that old and new workers never mix.
        var functions: [WorkerSpec.Pool: Function] = [:]
        var timer: MonotonicTime = .distantFuture
        var closing = false
        var restarts: RestartBudget
        var refusedStarts: UInt64 = 0

        mutating func function(of spec: WorkerSpec, idleMilliseconds: UInt64) -> Function {
            if let known = functions[spec.pool] { return known }
            let new = Function(
                FunctionQueue(
                    limits: spec.limits, idleMilliseconds: idleMilliseconds, fresh: spec.purpose == .fresh), spec)
            functions[spec.pool] = new
            return new
        }

        /// When the timer must be set anew for what is due then; nil when it fires early enough.
        mutating func rearm(for due: MonotonicTime?) -> MonotonicTime? {
            guard let due, due < timer else { return nil }
            timer = due
            return due
        }
    }
}

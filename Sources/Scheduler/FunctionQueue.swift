// Who runs next and who sleeps, for one function: a pure value; Dispatcher acts on what it decides.
package import Core
package import Platform

/// The workers and the waiting invocations of one function.
///
/// An arrival takes an idle worker; else it starts one while fewer than `concurrency` live; else it waits in a bounded
/// queue; else it is refused. So a burst on a sleeping function starts exactly as many workers as may run.
package struct FunctionQueue<Ticket> {
    package enum Arrival {
        case lease(worker: UInt32)
        case start
        case wait
        case refuse
    }

    private struct Waiting {
        let ticket: Ticket
        let deadline: MonotonicTime
        /// How often a younger one went first.
        var passed = 0
    }

    private struct Idle {
        let worker: UInt32
        let since: MonotonicTime
    }

    package private(set) var live = 0
    private let concurrency: Int
    private let bound: Int
    private let patience: UInt64
    private let idleLimit: UInt64
    private var idle: [Idle] = []
    private var waiting: [Waiting] = []

    package init(limits: Limits, idleMilliseconds: UInt64) {
        concurrency = limits.concurrency
        bound = limits.queue
        patience = UInt64(limits.queueTimeoutMilliseconds)
        idleLimit = idleMilliseconds &* 1_000_000
    }

    package var waitingCount: Int { waiting.count }
    package var idleCount: Int { idle.count }
    /// True when forgetting this value loses nothing.
    package var isEmpty: Bool { live == 0 && waiting.isEmpty }

    /// An invocation came. `.wait` stores the ticket until `release`, `ended` or `expire` hands it back.
    package mutating func arrive(_ ticket: Ticket, now: MonotonicTime) -> Arrival {
        // The worker used last has the warmest caches, and the coldest may go to sleep.
        if let last = idle.popLast() { return .lease(worker: last.worker) }
        if live < concurrency {
            live += 1
            return .start
        }
        guard waiting.count < bound else { return .refuse }
        waiting.append(Waiting(ticket: ticket, deadline: now.adding(milliseconds: patience)))
        return .wait
    }

    /// How many may be looked at for a preferred one, and how often the oldest lets one pass.
    private static var leeway: Int { 16 }

    /// A worker is free: it goes to the invocation that has waited longest, or idles.
    ///
    /// - Parameter preferred: true for an invocation that is cheaper to serve now; it may pass a few older ones, and each
    ///   of them lets few pass.
    package mutating func release(
        _ worker: UInt32, now: MonotonicTime, preferred: (Ticket) -> Bool = { _ in false }
    ) -> Ticket? {
        guard let oldest = waiting.first else {
            idle.append(Idle(worker: worker, since: now))
            return nil
        }
        let candidates = oldest.passed < Self.leeway ? waiting.prefix(Self.leeway) : []
        let chosen = candidates.firstIndex { preferred($0.ticket) } ?? 0
        if chosen > 0 { waiting[0].passed += 1 }
        return waiting.remove(at: chosen).ticket
    }

    /// A worker is gone, or could not start. Returns an invocation that may start another in its place.
    package mutating func ended(_ worker: UInt32?) -> Ticket? {
        if let worker { idle.removeAll { $0.worker == worker } }
        live -= 1
        guard !waiting.isEmpty else { return nil }
        live += 1
        return waiting.removeFirst().ticket
    }

    /// Takes out the invocations that have waited for too long.
    package mutating func expire(now: MonotonicTime) -> [Ticket] {
        guard let first = waiting.first, first.deadline <= now else { return [] }
        let expired = waiting.prefix { $0.deadline <= now }.map(\.ticket)
        waiting.removeFirst(expired.count)
        return expired
    }

    /// Takes out the workers that have idled for long enough. Each still counts as live until `ended`.
    package mutating func retire(now: MonotonicTime) -> [UInt32] {
        let count = idle.prefix { now.since($0.since) >= idleLimit }.count
        defer { idle.removeFirst(count) }
        return idle.prefix(count).map(\.worker)
    }

    /// When `expire` or `retire` has something to do; nil when never.
    package var nextDue: MonotonicTime? {
        let expiry = waiting.first?.deadline
        let sleep = idle.first.map { $0.since.adding(nanoseconds: idleLimit) }
        guard let expiry, let sleep else { return expiry ?? sleep }
        return min(expiry, sleep)
    }
}

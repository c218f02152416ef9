// Who runs next and who sleeps, for one function: a pure value; Dispatcher acts on what it decides.
package import Core
package import Platform

/// The workers and the waiting invocations of one function.
///
/// An arrival takes an idle worker; else it starts one while fewer than `concurrency` live; else it waits in a bounded
/// queue; else it is refused. So a burst on a sleeping function starts exactly as many workers as may run.
///
/// While each worker is busy with short invocations and many wait, a few of them are sent to a worker ahead of their turn:
/// it finds the next one without being woken for it.
///
/// With `fresh`, a worker serves one invocation and ends. Idle ones are spares, started off the path: as many as recent
/// arrivals would have needed, while the function is awake.
package struct FunctionQueue<Ticket> {
    package enum Arrival {
        case lease(worker: UInt32)
        case start
        case wait
        case refuse
    }

    /// An invocation that need not wait any longer.
    package enum Next {
        case lease(Ticket, worker: UInt32)
        /// The caller starts a worker for it.
        case start(Ticket)
    }

    private struct Waiting {
        let ticket: Ticket
        let deadline: MonotonicTime
        /// How often a younger one went first.
        var passed = 0
    }

    private struct Idle {
        let worker: UInt32
        var since: MonotonicTime
    }

    package private(set) var live = 0
    private let concurrency: Int
    private let bound: Int
    private let patience: UInt64
    private let idleLimit: UInt64
    private var idle: [Idle] = []
    private var waiting: [Waiting] = []
    /// They were asked to end.
    private var leaving: [Idle] = []
    /// Busy ones that get no further invocation.
    private var outdated: Set<UInt32> = []
    /// Invocations in a row, up to now, that were short.
    private var shortRuns = 0
    // Fresh workers only.
    private let fresh: Bool
    private var running = 0
    private var preparing = 0
    private var spareTarget: Int
    private var lastUse = MonotonicTime(nanoseconds: 0)

    package init(limits: Limits, idleMilliseconds: UInt64, fresh: Bool = false) {
        concurrency = limits.concurrency
        bound = limits.queue
        patience = UInt64(limits.queueTimeoutMilliseconds)
        idleLimit = idleMilliseconds &* 1_000_000
        self.fresh = fresh
        spareTarget = Self.fewestSpares
    }

    /// Started ahead while nothing more is known; measured to cover 500 invocations a second, one after the other.
    private static var fewestSpares: Int { 2 }

    /// How long a worker may take to end after it was asked to.
    private static var farewell: UInt64 { 250_000_000 }

    package var waitingCount: Int { waiting.count }
    package var idleCount: Int { idle.count }
    /// Those that rested longest first.
    package var idleWorkers: [UInt32] { idle.map(\.worker) }
    /// Live ones that were not asked to end.
    package var staying: Int { live - leaving.count }
    /// True when forgetting this value loses nothing.
    package var isEmpty: Bool { live == 0 && waiting.isEmpty }

    /// Processes at once. Fresh ones that are on their way in or out count too, beside those that serve.
    private var processLimit: Int { fresh ? 2 * concurrency + 4 : concurrency }

    /// An invocation came. `.wait` stores the ticket until `release`, `ended`, `prepared` or `expire` hands it back.
    ///
    /// - Parameter mayWait: false: it is refused instead.
    package mutating func arrive(_ ticket: Ticket, mayWait: Bool = true, now: MonotonicTime) -> Arrival {
        lastUse = now
        if !fresh || running < concurrency {
            if let worker = takeIdle() { return .lease(worker: worker) }
            if live < processLimit {
                countStart()
                spareTarget = min(2 * spareTarget, concurrency)
                return .start
            }
        }
        guard mayWait, waiting.count < bound else { return .refuse }
        waiting.append(Waiting(ticket: ticket, deadline: now.adding(milliseconds: patience)))
        return .wait
    }

    /// An invocation whose worker ended before its turn came: it was admitted once, so it is not refused now.
    package mutating func comeBack(_ ticket: Ticket, now: MonotonicTime) -> Arrival {
        if let worker = takeIdle() { return .lease(worker: worker) }
        if live < processLimit {
            countStart()
            return .start
        }
        waiting.insert(Waiting(ticket: ticket, deadline: now.adding(milliseconds: patience)), at: 0)
        return .wait
    }

    /// A start that `arrive` or `next` asked for is not allowed: the invocation waits for a worker that is there. False: there is
    /// none, or too many wait; then `ended` follows.
    package mutating func waitInstead(_ ticket: Ticket, mayWait: Bool, now: MonotonicTime) -> Bool {
        guard staying > 1, mayWait, waiting.count < bound else { return false }
        live -= 1
        if fresh { running -= 1 }
        waiting.append(Waiting(ticket: ticket, deadline: now.adding(milliseconds: patience)))
        return true
    }

    private mutating func takeIdle() -> UInt32? {
        guard !idle.isEmpty else { return nil }
        guard fresh else {
            // The worker used last has the warmest caches, and the coldest may go to sleep.
            return idle.removeLast().worker
        }
        running += 1
        return idle.removeFirst().worker
    }

    private mutating func countStart() {
        live += 1
        if fresh { running += 1 }
    }

    private mutating func next() -> Next? {
        guard let first = waiting.first, !fresh || running < concurrency else { return nil }
        if let worker = takeIdle() {
            waiting.removeFirst()
            return .lease(first.ticket, worker: worker)
        }
        guard live < processLimit else { return nil }
        countStart()
        waiting.removeFirst()
        return .start(first.ticket)
    }

    /// How many may be looked at for a preferred one, and how often the oldest lets one pass.
    private static var leeway: Int { 16 }

    /// A worker that may serve again is free: it goes to the invocation that has waited longest, or idles.
    ///
    /// - Parameter preferred: true for an invocation that is cheaper to serve now; it may pass a few older ones, and each
    ///   of them lets few pass.
    package mutating func release(
        _ worker: UInt32, now: MonotonicTime, preferred: (Ticket) -> Bool = { _ in false }
    ) -> Ticket? {
        guard !waiting.isEmpty else {
            idle.append(Idle(worker: worker, since: now))
            return nil
        }
        return takeFirst(where: preferred) ?? waiting.removeFirst().ticket
    }

    /// Takes one that may pass the older ones, unless the oldest has let enough pass.
    private mutating func takeFirst(where preferred: (Ticket) -> Bool) -> Ticket? {
        guard let oldest = waiting.first, oldest.passed < Self.leeway, let chosen = firstOfOldest(where: preferred)
        else { return nil }
        if chosen > 0 { waiting[0].passed += 1 }
        return waiting.remove(at: chosen).ticket
    }

    /// An invocation took so long inside its worker, in nanoseconds.
    package mutating func ran(_ nanoseconds: UInt64) {
        shortRuns = nanoseconds <= Self.shortRun ? min(shortRuns + 1, Self.shortRunsInARow) : 0
    }

    /// The bound of what one that was sent ahead may lose by that: a few short runs. A switch to another process and back
    /// takes a tenth of it.
    private static var shortRun: UInt64 { 100_000 }
    private static var shortRunsInARow: Int { 64 }
    private static var aheadLimit: Int { 3 }

    /// An invocation to be sent to this busy worker ahead of its turn, behind `count` others.
    ///
    /// Each worker gets its share of those that wait and no more, so that none stands idle beside a full one.
    package mutating func ahead(_ worker: UInt32, behind count: Int, where mayGo: (Ticket) -> Bool) -> Ticket? {
        guard shortRuns == Self.shortRunsInARow, count < Self.aheadLimit, waiting.count >= live, !isLast(worker)
        else { return nil }
        return takeFirst(where: mayGo)
    }

    /// By index: a slice would share the storage, and the change that follows would copy it.
    private func firstOfOldest(where preferred: (Ticket) -> Bool) -> Int? {
        waiting.indices.prefix(Self.leeway).first { preferred(waiting[$0].ticket) }
    }

    /// True for a worker that must not serve again after this invocation: hand it to `dismiss`.
    package func isLast(_ worker: UInt32) -> Bool { fresh || outdated.contains(worker) }

    /// A busy worker has done its last invocation and is asked to end. It counts as live until `ended`.
    package mutating func dismiss(_ worker: UInt32, now: MonotonicTime) -> Next? {
        outdated.remove(worker)
        leaving.append(Idle(worker: worker, since: now))
        guard fresh else { return nil }
        running -= 1
        return next()
    }

    /// How many spares to start now. Each counts as live at once, and is given to `prepared` or `spareFailed`.
    package mutating func spares(now: MonotonicTime) -> Int {
        guard fresh, now.since(lastUse) < idleLimit else { return 0 }
        let count = min(spareTarget - idle.count - preparing, processLimit - live)
        guard count > 0 else { return 0 }
        live += count
        preparing += count
        return count
    }

    /// A spare was started.
    package mutating func prepared(_ worker: UInt32, now: MonotonicTime) -> Next? {
        preparing -= 1
        idle.append(Idle(worker: worker, since: now))
        return next()
    }

    package mutating func spareFailed() {
        preparing -= 1
        live -= 1
    }

    /// True for a worker whose end nobody asked for.
    package func isNeeded(_ worker: UInt32) -> Bool { !leaving.contains { $0.worker == worker } }

    /// A worker is gone, or could not start (nil).
    package mutating func ended(_ worker: UInt32?) -> Next? {
        let wasIdle = remove(worker, from: \.idle)
        let wasLeaving = remove(worker, from: \.leaving)
        if let worker { outdated.remove(worker) }
        if fresh, !wasIdle, !wasLeaving { running -= 1 }
        live -= 1
        return next()
    }

    private mutating func remove(_ worker: UInt32?, from list: WritableKeyPath<Self, [Idle]>) -> Bool {
        guard let index = self[keyPath: list].firstIndex(where: { $0.worker == worker }) else { return false }
        self[keyPath: list].remove(at: index)
        return true
    }

    /// These workers get no further invocation. Returns those that can be asked to end at once.
    package mutating func outdate(_ workers: Set<UInt32>, now: MonotonicTime) -> [UInt32] {
        let asked = idle.map(\.worker).filter(workers.contains)
        idle.removeAll { workers.contains($0.worker) }
        leaving += asked.map { Idle(worker: $0, since: now) }
        outdated.formUnion(workers.subtracting(leaving.map(\.worker)))
        return asked
    }

    /// Takes out the invocations that have waited for too long.
    package mutating func expire(now: MonotonicTime) -> [Ticket] {
        guard let first = waiting.first, first.deadline <= now else { return [] }
        let expired = waiting.prefix { $0.deadline <= now }.map(\.ticket)
        waiting.removeFirst(expired.count)
        return expired
    }

    /// Takes out the workers that have idled for long enough, to be asked to end. Each counts as live until `ended`.
    package mutating func retire(now: MonotonicTime) -> [UInt32] {
        let count = idle.prefix { now.since(restsSince($0)) >= idleLimit }.count
        let retired = idle.prefix(count).map(\.worker)
        idle.removeFirst(count)
        leaving += retired.map { Idle(worker: $0, since: now) }
        if count > 0 { spareTarget = Self.fewestSpares }
        return retired
    }

    /// Spares rest with their function, since each waits for its first use.
    private func restsSince(_ worker: Idle) -> MonotonicTime { fresh ? max(worker.since, lastUse) : worker.since }

    /// Workers that were asked to end and did not, to be ended by force; each is named once.
    package mutating func overdue(now: MonotonicTime) -> [UInt32] {
        let late = leaving.indices.filter { now.since(leaving[$0].since) >= Self.farewell }
        for index in late { leaving[index].since = .distantFuture }
        return late.map { leaving[$0].worker }
    }

    /// When `expire`, `retire` or `overdue` has something to do; nil when never.
    package var nextDue: MonotonicTime? {
        var due = MonotonicTime.distantFuture
        if let first = waiting.first { due = first.deadline }
        if let first = idle.first { due = min(due, restsSince(first).adding(nanoseconds: idleLimit)) }
        if let next = leaving.first(where: { $0.since != .distantFuture }) {
            due = min(due, next.since.adding(nanoseconds: Self.farewell))
        }
        return due == .distantFuture ? nil : due
    }
}

extension FunctionQueue.Next: Sendable where Ticket: Sendable {}

// When a model is loaded, used, left alone and unloaded. Pure: ServedModel does what it says.
package import Platform

/// The life of one model's worker, from cold to cold.
package struct ModelLifecycle {
    package struct Policy: Equatable, Sendable {
        /// How long an unused model stays loaded.
        package var keepAliveMilliseconds: UInt64 = 60_000
        package var loadTimeoutMilliseconds: UInt64 = 120_000
        /// Ends in a row that nobody asked for before loading is put off.
        package var crashesBeforeBackOff = 3
        package var firstBackOffMilliseconds: UInt64 = 1_000
        package var longestBackOffMilliseconds: UInt64 = 60_000
        /// A worker that lived this long has proved itself: earlier crashes are forgotten.
        package var provenMilliseconds: UInt64 = 60_000

        package init() {}
    }

    package enum State: Equatable, Sendable {
        case cold
        /// It wants to load, and the node has no memory for it yet.
        case queued(deadline: MonotonicTime)
        case loading(deadline: MonotonicTime)
        /// `idleUntil` is set while nothing runs: then the model is unloaded.
        case ready(active: Int, idleUntil: MonotonicTime?)
        /// The worker was told to end.
        case unloading
    }

    package enum Event: Equatable {
        case request(GenerationID)
        /// Load without a request, if the model is cold and may.
        case warm
        /// Whether it stays loaded while nobody asks.
        case keep(Bool)
        /// The node has memory for it.
        case room
        /// The node has none, and won't have.
        case noRoom(String)
        /// A request left before it ran.
        case cancelled(GenerationID)
        /// A request that ran is over, in whichever way.
        case finished
        case loaded
        /// The worker says that it can't load the model, or was ended for what it did; it exits next.
        case failed(String)
        /// The worker's process is gone.
        case exited(String)
        /// Time has passed.
        case tick
        /// Another model needs its memory: unload if nothing runs.
        case evict
        /// Whether another version has taken its place: then unload as soon as nothing runs. It may be asked again later.
        case hurry(Bool)
        /// Unload as soon as nothing runs: the model was taken out of the catalogue, or the host ends.
        case retire
    }

    package enum Refusal: Equatable {
        case loadFailed(String)
        case backingOff(String, retryAfterMilliseconds: UInt64)
        case noRoom(String)
    }

    package enum Action: Equatable {
        /// Ask the node for memory; `.room` or `.noRoom` comes, at once or later.
        case reserve
        /// It wants that memory no more.
        case release
        case start
        case close
        case run([GenerationID])
        case refuse([GenerationID], Refusal)
        /// Send `.tick` at this time.
        case wake(at: MonotonicTime)
    }

    /// Its worker dies again and again, so that loading is put off.
    package struct Incident: Equatable, Sendable {
        package var crashes: Int
        package var cause: String
        package var nextTry: MonotonicTime
    }

    package private(set) var state = State.cold
    package private(set) var waiters: [GenerationID] = []
    package private(set) var incident: Incident?
    /// Nobody unloads it.
    package private(set) var isKept = false
    private let policy: Policy
    private var crashes = 0
    private var readySince: MonotonicTime?
    private var retired = false
    private var hurried = false

    package init(policy: Policy) { self.policy = policy }

    package mutating func handle(_ event: Event, now: MonotonicTime) -> [Action] {
        switch event {
        case .request(let id): request(id, now)
        case .warm: state == .cold ? start(now) : []
        case .keep(let kept): keep(kept, now)
        case .room: room(now)
        case .noRoom(let cause): noRoom(cause)
        case .cancelled(let id): cancelled(id)
        case .finished: finished(now)
        case .loaded: loaded(now)
        case .failed(let cause): failed(cause, now)
        case .exited(let cause): exited(cause, now)
        case .tick: tick(now)
        case .evict: isKept ? [] : closeIfIdle()
        case .hurry(let hurried): hurry(hurried)
        case .retire: retire()
        }
    }

    /// When loading may be tried again, if it is put off.
    package func blockedUntil(_ now: MonotonicTime) -> MonotonicTime? {
        incident.flatMap { now < $0.nextTry ? $0.nextTry : nil }
    }
}

// MARK: requests

extension ModelLifecycle {
    private mutating func request(_ id: GenerationID, _ now: MonotonicTime) -> [Action] {
        switch state {
        case .ready(let active, _):
            state = .ready(active: active + 1, idleUntil: nil)
            return [.run([id])]
        case .queued, .loading, .unloading:
            waiters.append(id)
            return []
        case .cold:
            waiters.append(id)
            return start(now)
        }
    }

    private mutating func cancelled(_ id: GenerationID) -> [Action] {
        waiters.removeAll { $0 == id }
        return leaveQueueIfUnwanted()
    }

    private mutating func finished(_ now: MonotonicTime) -> [Action] {
        guard case .ready(let active, _) = state, active > 0 else { return [] }
        forgiveIfProven(now)
        guard active == 1 else {
            state = .ready(active: active - 1, idleUntil: nil)
            return []
        }
        return rest(now)
    }

    /// Nothing runs: unload at once when it was told to go, else after the keep-alive.
    private mutating func rest(_ now: MonotonicTime) -> [Action] {
        if retired || hurried {
            state = .unloading
            return [.close]
        }
        if isKept {
            state = .ready(active: 0, idleUntil: nil)
            // Then an incident is over.
            return incident == nil ? [] : [.wake(at: now.adding(milliseconds: policy.provenMilliseconds))]
        }
        let until = now.adding(milliseconds: policy.keepAliveMilliseconds)
        state = .ready(active: 0, idleUntil: until)
        return [.wake(at: until)]
    }
}

// MARK: the worker

extension ModelLifecycle {
    /// Cold and wanted: load as soon as the node has memory for it, unless the worker keeps dying.
    private mutating func start(_ now: MonotonicTime) -> [Action] {
        if let incident, let until = blockedUntil(now) {
            let wait = (until.since(now) + 999_999) / 1_000_000
            return refuseWaiters(.backingOff(incident.cause, retryAfterMilliseconds: wait))
                + (isKept ? [.wake(at: until)] : [])
        }
        let deadline = now.adding(milliseconds: policy.loadTimeoutMilliseconds)
        state = .queued(deadline: deadline)
        // In this order: room that is there now sets the next time.
        return [.wake(at: deadline), .reserve]
    }

    private mutating func room(_ now: MonotonicTime) -> [Action] {
        guard case .queued = state else { return [.release] }
        let deadline = now.adding(milliseconds: policy.loadTimeoutMilliseconds)
        state = .loading(deadline: deadline)
        return [.start, .wake(at: deadline)]
    }

    private mutating func noRoom(_ cause: String) -> [Action] {
        guard case .queued = state else { return [] }
        state = .cold
        return refuseWaiters(.noRoom(cause))
    }

    private mutating func leaveQueueIfUnwanted() -> [Action] {
        guard case .queued = state, waiters.isEmpty, !isKept else { return [] }
        state = .cold
        return [.release]
    }

    private mutating func loaded(_ now: MonotonicTime) -> [Action] {
        guard case .loading = state else { return [] }
        readySince = now
        guard !waiters.isEmpty else {
            // Everyone left while it loaded; the next caller will be glad.
            return rest(now)
        }
        state = .ready(active: waiters.count, idleUntil: nil)
        defer { waiters = [] }
        return [.run(waiters)]
    }

    private mutating func failed(_ cause: String, _ now: MonotonicTime) -> [Action] {
        switch state {
        case .loading, .ready: break
        case .cold, .queued, .unloading: return []
        }
        recordCrash(cause, now)
        state = .unloading
        return refuseWaiters(.loadFailed(cause))
    }

    private mutating func exited(_ cause: String, _ now: MonotonicTime) -> [Action] {
        var actions: [Action] = []
        switch state {
        case .cold, .queued: return []
        case .unloading: break
        case .ready: recordCrash(cause, now)
        case .loading:
            recordCrash(cause, now)
            actions = refuseWaiters(.loadFailed(cause))
        }
        state = .cold
        readySince = nil
        hurried = false
        if !waiters.isEmpty || isKept { actions += start(now) }
        return actions
    }

    private mutating func tick(_ now: MonotonicTime) -> [Action] {
        switch state {
        case .cold where isKept: return start(now)
        case .queued(let deadline) where now >= deadline:
            state = .cold
            let again = now.adding(milliseconds: policy.longestBackOffMilliseconds)
            return [.release] + refuseWaiters(.noRoom("no memory for it after \(policy.loadTimeoutMilliseconds) ms"))
                + (isKept ? [.wake(at: again)] : [])
        case .loading(let deadline) where now >= deadline:
            let cause = "load: not ready after \(policy.loadTimeoutMilliseconds) ms"
            recordCrash(cause, now)
            state = .unloading
            return [.close] + refuseWaiters(.loadFailed(cause))
        case .ready(0, let idleUntil?) where now >= idleUntil:
            forgive()
            return closeIfIdle()
        case .ready:
            forgiveIfProven(now)
            return []
        default:
            return []
        }
    }

    private mutating func keep(_ kept: Bool, _ now: MonotonicTime) -> [Action] {
        guard kept != isKept else { return [] }
        isKept = kept
        switch state {
        case .cold where kept: return start(now)
        case .queued: return leaveQueueIfUnwanted()
        case .ready(0, _): return rest(now)
        default: return []
        }
    }

    private mutating func retire() -> [Action] {
        retired = true
        isKept = false
        return leaveQueueIfUnwanted() + closeIfIdle()
    }

    private mutating func hurry(_ yes: Bool) -> [Action] {
        hurried = yes && state != .cold
        guard hurried else { return [] }
        isKept = false
        return leaveQueueIfUnwanted() + closeIfIdle()
    }

    private mutating func closeIfIdle() -> [Action] {
        guard case .ready(0, _) = state else { return [] }
        state = .unloading
        return [.close]
    }

    private mutating func forgiveIfProven(_ now: MonotonicTime) {
        if let readySince, now.since(readySince) >= policy.provenMilliseconds * 1_000_000 { forgive() }
    }

    private mutating func forgive() {
        crashes = 0
        incident = nil
    }

    private mutating func recordCrash(_ cause: String, _ now: MonotonicTime) {
        forgiveIfProven(now)
        crashes += 1
        guard crashes >= policy.crashesBeforeBackOff else { return }
        let doublings = UInt64(min(crashes - policy.crashesBeforeBackOff, 20))
        let wait = min(policy.firstBackOffMilliseconds << doublings, policy.longestBackOffMilliseconds)
        incident = Incident(crashes: crashes, cause: cause, nextTry: now.adding(milliseconds: wait))
    }

    private mutating func refuseWaiters(_ refusal: Refusal) -> [Action] {
        guard !waiters.isEmpty else { return [] }
        defer { waiters = [] }
        return [.refuse(waiters, refusal)]
    }
}

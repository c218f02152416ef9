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
        case loading(deadline: MonotonicTime)
        /// `idleUntil` is set while nothing runs: then the model is unloaded.
        case ready(active: Int, idleUntil: MonotonicTime?)
        /// The worker was told to end.
        case unloading
    }

    package enum Event: Equatable {
        case request(GenerationID)
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
        /// Unload as soon as nothing runs: the model was taken out of the catalogue, or the host ends.
        case retire
    }

    package enum Refusal: Equatable {
        case loadFailed(String)
        case backingOff(String, retryAfterMilliseconds: UInt64)
    }

    package enum Action: Equatable {
        case start
        case close
        case run([GenerationID])
        case refuse([GenerationID], Refusal)
        /// Send `.tick` at this time.
        case wake(at: MonotonicTime)
    }

    package private(set) var state = State.cold
    package private(set) var waiters: [GenerationID] = []
    private let policy: Policy
    private var crashes = 0
    private var lastCrash = ""
    private var readySince: MonotonicTime?
    private var blockedUntil: MonotonicTime?
    private var retired = false

    package init(policy: Policy) { self.policy = policy }

    package mutating func handle(_ event: Event, now: MonotonicTime) -> [Action] {
        switch event {
        case .request(let id): request(id, now)
        case .cancelled(let id): cancelled(id)
        case .finished: finished(now)
        case .loaded: loaded(now)
        case .failed(let cause): failed(cause, now)
        case .exited(let cause): exited(cause, now)
        case .tick: tick(now)
        case .retire: retire()
        }
    }
}

// MARK: requests

extension ModelLifecycle {
    private mutating func request(_ id: GenerationID, _ now: MonotonicTime) -> [Action] {
        switch state {
        case .ready(let active, _):
            state = .ready(active: active + 1, idleUntil: nil)
            return [.run([id])]
        case .loading, .unloading:
            waiters.append(id)
            return []
        case .cold:
            waiters.append(id)
            return startOrRefuse(now)
        }
    }

    private mutating func cancelled(_ id: GenerationID) -> [Action] {
        waiters.removeAll { $0 == id }
        return []
    }

    private mutating func finished(_ now: MonotonicTime) -> [Action] {
        guard case .ready(let active, _) = state, active > 0 else { return [] }
        guard active == 1 else {
            state = .ready(active: active - 1, idleUntil: nil)
            return []
        }
        return rest(now)
    }

    /// Nothing runs: unload at once when retired, else after the keep-alive.
    private mutating func rest(_ now: MonotonicTime) -> [Action] {
        if retired {
            state = .unloading
            return [.close]
        }
        let until = now.adding(milliseconds: policy.keepAliveMilliseconds)
        state = .ready(active: 0, idleUntil: until)
        return [.wake(at: until)]
    }
}

// MARK: the worker

extension ModelLifecycle {
    /// Cold with waiters: load, unless the worker keeps dying.
    private mutating func startOrRefuse(_ now: MonotonicTime) -> [Action] {
        if let blockedUntil, now < blockedUntil {
            let wait = (blockedUntil.since(now) + 999_999) / 1_000_000
            return refuseWaiters(.backingOff(lastCrash, retryAfterMilliseconds: wait))
        }
        let deadline = now.adding(milliseconds: policy.loadTimeoutMilliseconds)
        state = .loading(deadline: deadline)
        return [.start, .wake(at: deadline)]
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
        case .cold, .unloading: return []
        }
        recordCrash(cause, now)
        state = .unloading
        return refuseWaiters(.loadFailed(cause))
    }

    private mutating func exited(_ cause: String, _ now: MonotonicTime) -> [Action] {
        var actions: [Action] = []
        switch state {
        case .cold: return []
        case .unloading: break
        case .ready: recordCrash(cause, now)
        case .loading:
            recordCrash(cause, now)
            actions = refuseWaiters(.loadFailed(cause))
        }
        state = .cold
        readySince = nil
        if !waiters.isEmpty { actions += startOrRefuse(now) }
        return actions
    }

    private mutating func tick(_ now: MonotonicTime) -> [Action] {
        switch state {
        case .loading(let deadline) where now >= deadline:
            let cause = "load: not ready after \(policy.loadTimeoutMilliseconds) ms"
            recordCrash(cause, now)
            state = .unloading
            return [.close] + refuseWaiters(.loadFailed(cause))
        case .ready(0, let idleUntil?) where now >= idleUntil:
            state = .unloading
            crashes = 0
            return [.close]
        default:
            return []
        }
    }

    private mutating func retire() -> [Action] {
        retired = true
        guard case .ready(0, _) = state else { return [] }
        state = .unloading
        return [.close]
    }

    private mutating func recordCrash(_ cause: String, _ now: MonotonicTime) {
        if let readySince, now.since(readySince) >= policy.provenMilliseconds * 1_000_000 { crashes = 0 }
        crashes += 1
        lastCrash = cause
        guard crashes >= policy.crashesBeforeBackOff else { return }
        let doublings = UInt64(min(crashes - policy.crashesBeforeBackOff, 20))
        let wait = min(policy.firstBackOffMilliseconds << doublings, policy.longestBackOffMilliseconds)
        blockedUntil = now.adding(milliseconds: wait)
    }

    private mutating func refuseWaiters(_ refusal: Refusal) -> [Action] {
        guard !waiters.isEmpty else { return [] }
        defer { waiters = [] }
        return [.refuse(waiters, refusal)]
    }
}

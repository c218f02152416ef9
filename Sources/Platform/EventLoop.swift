// One thread, one epoll: everything a loop owns is touched on its thread only. Timers.swift and LoopThread.swift come next.
internal import CLinux
internal import Glibc
internal import Synchronization

/// Receives the readiness of a descriptor that it registered, on the loop's thread.
package protocol EventHandler: AnyObject {
    /// `events` are EPOLL bits. The handler may have been removed by an earlier event of the same batch; then it isn't called.
    func handle(events: UInt32)
}

/// Names a registration. Tokens are never reused, so a late event can't reach a newcomer on the same descriptor number.
package struct EventToken: Hashable, Sendable {
    fileprivate let value: UInt64
}

/// An epoll loop that runs on one thread.
///
/// Everything but `submit` and `stop` is for the loop's own thread; a wrong thread traps.
// SAFETY of the events: allocated once, freed with the loop, and only `turn` looks into them.
@safe package final class EventLoop {
    package let index: Int
    /// What other threads use to reach this loop.
    package let remote: LoopRemote
    /// The time at which the current batch of events began; cheap to read on the hot path.
    package private(set) var now = MonotonicTime.now

    private let epoll: FileDescriptor
    private var handlers = SlotTable<any EventHandler>()
    private var timers = TimerHeap()
    private var atBatchEnd: [() -> Void] = []
    private var running = true
    private let events: UnsafeMutablePointer<epoll_event>
    private static let eventsPerTurn = 256

    package init(index: Int) throws(SystemError) {
        self.index = index
        epoll = FileDescriptor(owning: try check(clinux_epoll_create(), "epoll_create1"))
        remote = try LoopRemote()
        unsafe events = .allocate(capacity: Self.eventsPerTurn)
        try check(
            clinux_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, remote.wakeDescriptor, EPOLLIN.rawValue, 0), "epoll_ctl(wake)")
    }

    deinit { unsafe events.deallocate() }

    // MARK: descriptors

    /// Watches a descriptor. The handler is held until `remove`.
    package func add(_ descriptor: CInt, events: UInt32, handler: any EventHandler) throws(SystemError) -> EventToken {
        let token = handlers.insert(handler)
        do throws(SystemError) {
            try check(clinux_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, descriptor, events, token), "epoll_ctl(add)")
        } catch {
            _ = handlers.remove(token)
            throw error
        }
        return EventToken(value: token)
    }

    /// Changes which events are watched.
    package func modify(_ descriptor: CInt, events: UInt32, token: EventToken) {
        let result = clinux_epoll_ctl(epoll.raw, EPOLL_CTL_MOD, descriptor, events, token.value)
        precondition(result == 0, "epoll_ctl(mod) on a descriptor that isn't watched")
    }

    /// Stops watching; call it before the descriptor is closed.
    package func remove(_ descriptor: CInt, token: EventToken) {
        guard handlers.remove(token.value) != nil else { return }
        _ = clinux_epoll_ctl(epoll.raw, EPOLL_CTL_DEL, descriptor, 0, token.value)
    }

    // MARK: time

    /// Runs `action` once, at or after `time`. Keep the token to cancel it.
    @discardableResult
    package func schedule(at time: MonotonicTime, _ action: @escaping () -> Void) -> TimerToken {
        timers.insert(at: time, action)
    }

    /// Forgets a timer; a fired or unknown one is fine.
    package func cancel(_ timer: TimerToken) { timers.remove(timer) }

    /// Runs `action` once, after all events of the current batch: where connections flush what they gathered.
    package func afterBatch(_ action: @escaping () -> Void) { atBatchEnd.append(action) }

    // MARK: running

    /// Runs until `stop`.
    package func run() {
        remote.bindToCurrentThread()
        while running { turn(waiting: timeout()) }
    }

    /// Handles what is ready now and returns: for a caller that steps the loop by hand, on one thread, instead of `run`.
    /// - Returns: false when nothing was ready.
    package func step() -> Bool {
        remote.bindToCurrentThread()
        return turn(waiting: 0) > 0
    }

    /// One batch; returns how many descriptors were ready.
    @discardableResult
    private func turn(waiting milliseconds: CInt) -> Int {
        let count = unsafe max(0, Int(epoll_wait(epoll.raw, events, CInt(Self.eventsPerTurn), milliseconds)))
        now = .now
        for index in 0..<count {
            let flags = unsafe clinux_event_flags(events, index)
            let token = unsafe clinux_event_token(events, index)
            if token == 0 { runSubmitted() } else { handlers[token]?.handle(events: flags) }
        }
        while let action = timers.popDue(now) { action() }
        runBatchEnd()
        return count
    }

    /// Ends `run` after the current batch.
    package func stop() { running = false }

    private func runSubmitted() {
        for job in remote.takeAll() { job(self) }
    }

    private func runBatchEnd() {
        // An action may append another; that one runs in this batch too.
        var index = 0
        while index < atBatchEnd.count {
            atBatchEnd[index]()
            index += 1
        }
        atBatchEnd.removeAll(keepingCapacity: true)
    }

    private func timeout() -> CInt {
        guard let next = timers.earliest else { return -1 }
        let wait = next.since(.now)
        return wait == 0 ? 0 : CInt(clamping: wait / 1_000_000 + 1)
    }
}

/// What other threads may do with a loop: hand it work.
package final class LoopRemote: Sendable {
    private let wake: FileDescriptor
    private let jobs = Mutex<[@Sendable (EventLoop) -> Void]>([])
    private let thread = Atomic<UInt>(0)

    fileprivate init() throws(SystemError) {
        wake = FileDescriptor(owning: try check(clinux_eventfd(), "eventfd"))
    }

    fileprivate var wakeDescriptor: CInt { wake.raw }

    /// True on the loop's own thread.
    package var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    fileprivate func bindToCurrentThread() { thread.store(UInt(pthread_self()), ordering: .relaxed) }

    /// Runs `job` on the loop's thread, in order with other jobs.
    package func submit(_ job: @escaping @Sendable (EventLoop) -> Void) {
        let wasEmpty = jobs.withLock { jobs in
            jobs.append(job)
            return jobs.count == 1
        }
        if wasEmpty { clinux_eventfd_ring(wake.raw) }
    }

    fileprivate func takeAll() -> [@Sendable (EventLoop) -> Void] {
        clinux_eventfd_clear(wake.raw)
        return jobs.withLock { jobs in
            let taken = jobs
            jobs.removeAll(keepingCapacity: false)
            return taken
        }
    }
}

/// A value that only its loop's thread may touch, carried across threads inside jobs.
// SAFETY: `value` traps unless the caller runs on the loop that bound it, so it is never shared.
package struct LoopBound<Value>: @unchecked Sendable {
    private let stored: Value
    private let remote: LoopRemote

    package init(_ value: Value, on loop: EventLoop) {
        stored = value
        remote = loop.remote
    }

    package var value: Value {
        precondition(remote.isCurrent, "a value of one loop was touched on another thread")
        return stored
    }
}

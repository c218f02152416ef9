// Runs Swift jobs on the worker's only thread until an invocation is answered, waiting in the host when none is ready.
internal import Glibc

/// A job and whose isolation it runs in.
enum Work {
    case work(UnownedJob)
    case main(UnownedJob)

    func run() {
        switch self {
        case .work(let job): unsafe job.runSynchronously(on: Executors.work.asUnownedTaskExecutor())
        case .main(let job): unsafe job.runSynchronously(on: Executors.main.asUnownedSerialExecutor())
        }
    }
}

/// SAFETY: `@unchecked` because only the owner thread may enqueue or run; `enqueue` traps on any other.
final class RunLoop: @unchecked Sendable {
    static let shared = RunLoop()

    private let owner = pthread_self()
    private var ready: [Work] = []
    private var head = 0
    private var timers = Timers<Work>()

    /// How long a cancelled handler may tidy up.
    static let grace: UInt64 = 100_000_000
    /// How long work that a handler left behind may hold up the end of its answer.
    static let afterwork: UInt64 = 5_000_000
    /// How often a handler that never waits looks for events and cancellation.
    static let glance: UInt64 = 50_000
    /// How many events one look takes: as many as calls may be open.
    static let eventsAtOnce = 64
    /// Cancelled sleeps stay queued until they are due; more than this many would be a leak in a busy worker.
    static let timersKept = 1024

    enum Ending { case answered, abandoned, stalled }

    func enqueue(_ job: Work) {
        requireOwnThread()
        ready.append(job)
    }

    func enqueue(_ job: Work, after delay: Duration) {
        requireOwnThread()
        let due = addingSaturated(monotonicNow(), nanoseconds(delay))
        timers.insert(job, due: due)
    }

    func requireOwnThread() {
        precondition(
            pthread_equal(pthread_self(), owner) != 0,
            "a handler's Swift tasks belong to the worker's thread: resume them there")
    }

    /// Turns until the invocation has a result, is given up, or waits for something that can never come.
    func run(_ invocation: Invocation) -> Ending {
        var lastGlance = monotonicNow()
        var giveUp: UInt64?
        while true {
            runBatch { invocation.result != nil }
            if invocation.result != nil { return .answered }
            let now = monotonicNow()
            moveDue(now: now)
            if invocation.isCancelled {
                giveUp = giveUp ?? now + Self.grace
                guard let giveUp, tidy(now: now, until: giveUp) else { return .abandoned }
            } else if hasReady {
                guard now - lastGlance > Self.glance else { continue }
                for _ in 0..<Self.eventsAtOnce {
                    guard invocation.takeEvent(timeout: 0), !invocation.isCancelled else { break }
                }
                lastGlance = now
            } else {
                guard let timeout = patience(invocation, now: now) else { return .stalled }
                _ = invocation.takeEvent(timeout: timeout)
            }
        }
    }

    /// Lets tasks that outlive their handler move on for a moment; what is left then runs with the next invocation.
    func runAfterwork() {
        guard hasReady else { return }
        let end = monotonicNow() + Self.afterwork
        repeat { runBatch { false } } while hasReady && monotonicNow() < end
    }

    func shedTimers() {
        while timers.count > Self.timersKept, let job = timers.popDue(now: .max) { ready.append(job) }
    }

    private var hasReady: Bool { head < ready.count }

    /// Runs the jobs that are ready now; those that they make ready wait for the next turn, so that none starves.
    private func runBatch(until isDone: () -> Bool) {
        let end = ready.count
        while head < end, !isDone() {
            let job = ready[head]
            head += 1
            job.run()
        }
        guard head > 0 else { return }
        ready.removeFirst(head)
        head = 0
    }

    private func moveDue(now: UInt64) {
        while let job = timers.popDue(now: now) { ready.append(job) }
    }

    /// How long the host may keep the thread; nil when neither an event nor a timer can wake the handler.
    private func patience(_ invocation: Invocation, now: UInt64) -> UInt64? {
        if let due = timers.earliest { return due - now }
        return invocation.calls.isEmpty ? nil : .max
    }

    /// One step of a cancelled handler: asks the host nothing more, sleeps until its next timer. False: give it up.
    private func tidy(now: UInt64, until giveUp: UInt64) -> Bool {
        guard now < giveUp else { return false }
        if hasReady { return true }
        guard let due = timers.earliest, due < giveUp else { return false }
        var pause = timespec(tv_sec: 0, tv_nsec: Int(due - now))
        return unsafe nanosleep(&pause, nil) == 0
    }
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of every deadline in the ABI.
func monotonicNow() -> UInt64 {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

private func nanoseconds(_ duration: Duration) -> UInt64 {
    let (seconds, attoseconds) = duration.components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : addingSaturated(whole, UInt64(attoseconds) / 1_000_000_000)
}

private func addingSaturated(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? .max : sum
}

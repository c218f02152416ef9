// The Swift runtime's executors, replaced for the whole process: all jobs queue for the worker's one thread.
//
// Swift's own default executor starts dispatch threads. A zygote that has run one task on them forks children that
// hang, and the sandbox forbids threads anyway. Replacing the factory covers what hooks miss: Task.yield, Task.sleep,
// unstructured tasks and the main actor. The factory is experimental interface of Swift 6.3; a toolchain that moves
// it stops the build here.
@_spi(ExperimentalCustomExecutors) @_spi(ExperimentalScheduling) internal import _Concurrency

/// Runs everything that has no actor with an executor of its own.
final class WorkExecutor: TaskExecutor, SchedulingExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        RunLoop.shared.enqueue(.work(UnownedJob(job)))
    }

    func enqueue<C: Clock>(_ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C) {
        let job = UnownedJob(job)
        if let delay = delay as? Duration {
            RunLoop.shared.enqueue(.work(job), after: delay)
        } else {
            // Only the clock itself knows how long its durations are.
            Task {
                try? await clock.sleep(until: clock.now.advanced(by: delay), tolerance: tolerance)
                RunLoop.shared.enqueue(.work(job))
            }
        }
    }
}

/// Runs the main actor, on the same thread.
final class MainActorExecutor: MainExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        RunLoop.shared.enqueue(.main(UnownedJob(job)))
    }

    func run() { preconditionFailure("the host turns the loop of a worker, not the handler") }
    func stop() {}
    func checkIsolated() { RunLoop.shared.requireOwnThread() }
}

struct Executors: ExecutorFactory {
    static let work = WorkExecutor()
    static let main = MainActorExecutor()

    static var mainExecutor: any MainExecutor { main }
    static var defaultExecutor: any TaskExecutor { work }

    /// Comes before the first task of the process, because the runtime takes a factory once.
    static func install() { _ = installed }

    private static let installed: Void = _createExecutors(factory: Executors.self)
}

// The CPU time of one invocation, by the kernel's clock of its worker: what the worker says of itself bounds nothing.
internal import Core
internal import Platform
internal import Scheduler
internal import Workers

struct CPUMeter {
    private let worker: Worker
    private let startedAt = MonotonicTime.now

    /// - Parameter isCold: the worker was started for it, so its start counts too.
    init(_ worker: Worker, _ place: Place, isCold: Bool) {
        self.worker = worker
        if case .behind = place { return }
        if !isCold { worker.markCPU() }
    }

    /// Nanoseconds. Where the kernel can't tell any more, the time that passed: a crash is no way around the limit.
    func used() -> UInt64 {
        worker.takeCPU() ?? MonotonicTime.now.since(startedAt)
    }
}

// Why an invocation got no worker.
internal import Core
internal import Workers

extension Dispatcher {
    static let vanished = RuntimeError(
        .unavailable, step: "lease a worker", cause: "the worker ended at this moment", next: "try again")

    static func queueFull(_ spec: WorkerSpec) -> RuntimeError {
        RuntimeError(
            .queueFull, step: "queue \(spec.key)",
            cause: "\(spec.limits.concurrency) invocations run and \(spec.limits.queue) wait already",
            next: "try again later, or raise limits.concurrency or limits.queue in the manifest")
    }

    static func crashLoop(_ spec: WorkerSpec, _ wait: RestartBudget.Wait) -> RuntimeError {
        RuntimeError(
            .crashLoop, step: "start \(spec.key)",
            cause: "its workers die faster than they may be replaced; the last one: \(wait.lastEnd)",
            next: "mend the function; the next worker may start in \(wait.milliseconds) ms (serve --restart-rate)")
    }

    static func waitedTooLong(_ spec: WorkerSpec) -> RuntimeError {
        RuntimeError(
            .unavailable, step: "queue \(spec.key)",
            cause: "no worker was free within \(spec.limits.queueTimeoutMilliseconds) ms",
            next: "try again later, or raise limits.concurrency or limits.queue_timeout_ms in the manifest")
    }
}

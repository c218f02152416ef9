// How one invocation ended, as a value; the gateway turns it into a status, the log into a line.

package enum Outcome: Sendable, Equatable {
    /// The handler answered, with this HTTP status.
    case success(status: Int)
    /// The handler reported an error of its own.
    case failed(String)
    /// The worker died of a signal; `words` is what it was doing, e.g. "while serving a request".
    case crashed(signal: Int32, words: String)
    /// The worker ended itself.
    case exited(code: Int32, words: String)
    /// `throttled`: milliseconds of that in which the CPU limit held it back.
    case timedOut(milliseconds: Int, throttled: Int = 0)
    case outOfMemory(limit: UInt64, peak: UInt64)
    /// The caller went away.
    case cancelled
    /// The worker's zygote was ended from outside, and the worker with it.
    case lost
    /// The worker broke the protocol between it and the host.
    case protocolViolation(String)

    package var isSuccess: Bool {
        if case .success = self { true } else { false }
    }

    /// One word for logs and metrics.
    package var name: String {
        switch self {
        case .success: "success"
        case .failed: "failed"
        case .crashed: "crashed"
        case .exited: "exited"
        case .timedOut: "timed_out"
        case .outOfMemory: "out_of_memory"
        case .cancelled: "cancelled"
        case .lost: "lost"
        case .protocolViolation: "protocol_violation"
        }
    }

    /// What the developer of the function is told; nil when it went well.
    package var error: RuntimeError? {
        let step = "invoke"
        switch self {
        case .success:
            return nil
        case .failed(let text):
            return RuntimeError(
                .handlerFailed, step: step, cause: "the handler reported an error: \(text)",
                next: "see the function's log: swiftlet logs")
        case .crashed(let signal, let words):
            return RuntimeError(
                .handlerCrashed, step: step,
                cause: "the handler crashed with \(Signal.words(signal))\(words.isEmpty ? "" : " ")\(words)",
                next: Signal.advice(signal))
        case .exited(let code, let words):
            return RuntimeError(
                .handlerCrashed, step: step,
                cause: "the handler ended its own process with exit status \(code)\(words.isEmpty ? "" : " ")\(words)",
                next: "return from the handler instead of calling exit; a worker serves many requests")
        case .timedOut(let milliseconds, let throttled):
            let held = throttled > 0 ? "; limits.cpu_percent held it back for \(throttled) ms" : ""
            return RuntimeError(
                .timeout, step: step,
                cause: "the handler did not finish within \(milliseconds) ms and was stopped\(held)",
                next:
                    "make it faster, or raise limits.timeout_ms\(throttled > 0 ? " or limits.cpu_percent" : "") in the manifest"
            )
        case .outOfMemory(let limit, let peak):
            return RuntimeError(
                .outOfMemory, step: step,
                cause: "the handler needed more memory than its limit of \(mebibytes(limit)) MiB"
                    + (peak > 0 ? " (peak \(mebibytes(peak)) MiB)" : ""),
                next: "use less memory, or raise limits.memory_mb in the manifest")
        case .cancelled:
            return RuntimeError(
                .timeout, step: step, cause: "the caller closed the connection before the answer was complete",
                next: "raise the caller's own timeout if the answer was still wanted")
        case .lost:
            return RuntimeError(
                .unavailable, step: step, cause: "the worker's zygote was ended from outside, and the worker with it",
                next: "try again; see the host's log for the zygote's last words")
        case .protocolViolation(let text):
            return RuntimeError(
                .handlerFailed, step: step, cause: "the worker broke the protocol with the host: \(text)",
                next: "answer each invocation exactly once, through the functions of the ABI only")
        }
    }

    private func mebibytes(_ bytes: UInt64) -> UInt64 { (bytes + (1 << 20) - 1) >> 20 }
}

// One worker process as the host knows it: who it is, where its channel is, and how it ended.
package import Core
package import Platform
internal import Synchronization

/// How a worker's process ended.
package struct WorkerExit: Sendable, Equatable {
    /// The wait status; nil when its zygote went away before it could tell.
    package var status: Int32?
    package var outOfMemory = false
    /// Bytes; 0 when not known.
    package var memoryPeak: UInt64 = 0
    package var cpuMicroseconds: UInt64 = 0
    /// Time that it would have run and its CPU limit did not let it.
    package var throttledMicroseconds: UInt64 = 0
    /// Processes and threads that its limit did not let it start.
    package var processesRefused = 0
    /// What it wrote to stderr last.
    package var lastWords = ""

    package init(status: Int32?) { self.status = status }

    /// What that means for the invocation it was serving. A signal that the host sent is the host's reason, not a crash.
    package func outcome(limits: Limits) -> Outcome {
        guard let status else { return .lost }
        if outOfMemory { return .outOfMemory(limit: limits.memoryBytes, peak: memoryPeak) }
        let signal = status & 0x7f
        var words = lastWords.isEmpty ? "" : "; its last words: \(lastWords)"
        if processesRefused > 0 { words += "; limits.threads refused it a thread or process \(processesRefused) times" }
        if signal != 0 { return .crashed(signal: signal, words: words) }
        return .exited(code: (status >> 8) & 0xff, words: words)
    }

    /// The same in a few words.
    package func words(limits: Limits) -> String { outcome(limits: limits).error?.cause ?? "it ended" }

    /// The host's own reason for ending it, with what the kernel adds.
    package func explaining(_ reason: Outcome) -> Outcome {
        guard case .timedOut(let limit, _) = reason else { return reason }
        return .timedOut(milliseconds: limit, throttled: Int(clamping: throttledMicroseconds / 1000))
    }
}

/// A worker process. Safe to name from any thread; its channel belongs to the loop that leased it.
package final class Worker: Sendable {
    private struct State {
        var pid: Int32 = 0
        var ready = false
        var exit: WorkerExit?
        /// Nanoseconds of CPU time that are accounted for.
        var cpuTaken: UInt64 = 0
        var observers: [@Sendable (WorkerExit) -> Void] = []
    }

    package let number: UInt32
    /// What its zygote calls it: its number, or the one it had while it waited.
    let wireNumber: UInt32
    package let spec: WorkerSpec
    package let startedAt: MonotonicTime
    /// True when it came from a zygote that was ready, false when one had to be started for it.
    package let fromPreparedZygote: Bool
    package let channel: FileDescriptor
    private let state = Mutex(State())
    /// Nanoseconds that it has told of.
    private let toldCPU = Atomic<UInt64>(0)

    init(
        number: UInt32, wireNumber: UInt32, spec: WorkerSpec, channel: consuming FileDescriptor,
        fromPreparedZygote: Bool
    ) {
        self.number = number
        self.wireNumber = wireNumber
        self.spec = spec
        self.channel = channel
        self.fromPreparedZygote = fromPreparedZygote
        startedAt = .now
    }

    /// The process number in the host's pid namespace; 0 until the zygote has told it.
    package var pid: Int32 { state.withLock(\.pid) }

    /// True once it has told that its plugin is loaded.
    package var isReady: Bool { state.withLock(\.ready) }
    package func noteReady() { state.withLock { $0.ready = true } }

    package var exit: WorkerExit? { state.withLock(\.exit) }

    /// CPU time that it used until now is accounted for.
    package func markCPU() { _ = takeCPU() }

    /// The CPU time since it was last asked, in nanoseconds; nil when it is gone and nobody knows.
    package func takeCPU() -> UInt64? {
        state.withLock { state in
            let total = state.exit.map { $0.cpuMicroseconds &* 1000 } ?? ProcessCPU.nanoseconds(of: state.pid)
            guard total > 0 else { return nil }
            defer { state.cpuTaken = max(state.cpuTaken, total) }
            return total > state.cpuTaken ? total - state.cpuTaken : 0
        }
    }

    /// Calls `observe` once the process is gone: at once when it is, else on the control loop's thread.
    package func whenExited(_ observe: @escaping @Sendable (WorkerExit) -> Void) {
        let exit = state.withLock { state in
            if state.exit == nil { state.observers.append(observe) }
            return state.exit
        }
        if let exit { observe(exit) }
    }

    /// Takes in how much CPU time the worker says it took since it last did; nil when that is nothing, which it tells later.
    ///
    /// It is the worker's word: it is believed up to what its threads could have had since it was started.
    package func noteCPU(told nanoseconds: UInt64) -> UInt64? {
        guard nanoseconds > 0 else { return nil }
        let most = MonotonicTime.now.since(startedAt).multipliedReportingOverflow(
            by: UInt64(max(1, spec.threads)))
        let before = toldCPU.load(ordering: .relaxed)
        let believed = min(nanoseconds, most.overflow ? .max : most.partialValue - min(before, most.partialValue))
        toldCPU.wrappingAdd(believed, ordering: .relaxed)
        return believed
    }

    /// What the kernel counted to its end and it has not told of.
    package func cpu(untold exit: WorkerExit) -> UInt64? {
        let whole = exit.cpuMicroseconds.multipliedReportingOverflow(by: 1000)
        guard exit.status != nil, !whole.overflow else { return nil }
        return whole.partialValue - min(whole.partialValue, toldCPU.load(ordering: .relaxed))
    }

    func noteStarted(pid: Int32) { state.withLock { $0.pid = pid } }

    func noteExit(_ exit: WorkerExit) {
        let observers = state.withLock { state in
            guard state.exit == nil else { return [@Sendable (WorkerExit) -> Void]() }
            state.exit = exit
            defer { state.observers = [] }
            return state.observers
        }
        for observe in observers { observe(exit) }
    }
}

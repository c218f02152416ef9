// Counters of every model, written once a step by its loop and read by /metrics from any thread.
internal import Synchronization

/// Totals since the host started, and what is now.
package struct ModelMetrics: Equatable, Sendable {
    package enum Phase: String, Sendable {
        case cold, loading, ready, unloading
    }

    package var requests: UInt64 = 0
    package var refused: UInt64 = 0
    package var failed: UInt64 = 0
    package var cancelled: UInt64 = 0
    package var promptTokens: UInt64 = 0
    package var completionTokens: UInt64 = 0
    package var steps: UInt64 = 0
    /// Time inside the engine's steps.
    package var stepNanoseconds: UInt64 = 0
    /// Sequences over all steps; divided by `steps` it is the mean batch size.
    package var stepSequences: UInt64 = 0
    package var stepTokens: UInt64 = 0
    package var loads: UInt64 = 0
    package var loadNanoseconds: UInt64 = 0
    package var unloads: UInt64 = 0
    package var crashes: UInt64 = 0
    /// Workers that were ended for what they held of their device; they count as crashes, too.
    package var overBudget: UInt64 = 0
    package var timeToFirstTokenNanoseconds: UInt64 = 0
    package var firstTokens: UInt64 = 0
    package var running = 0
    package var waiting = 0
    package var phase = Phase.cold
    package var tensors = TensorMetrics()

    package init() {}
}

/// The counters of one model.
package final class ModelCounters: Sendable {
    private let values = Mutex(ModelMetrics())

    package init() {}

    package var now: ModelMetrics { values.withLock { $0 } }

    func update(_ change: (inout ModelMetrics) -> Void) { values.withLock { change(&$0) } }
}

// Counters of every model, written once a step by its loop and read by /metrics from any thread.
package import Ledger
internal import Synchronization

/// Totals since the host started, and what is now.
package struct ModelMetrics: Equatable, Sendable {
    package var requests: UInt64 = 0
    package var refused: UInt64 = 0
    package var failed: UInt64 = 0
    package var cancelled: UInt64 = 0
    /// Requests that were answered whole, by why the answer ended.
    package var finished: [FinishReason: UInt64] = [:]
    package var promptTokens: UInt64 = 0
    package var completionTokens: UInt64 = 0
    package var steps: UInt64 = 0
    /// Time inside the engine's steps.
    package var stepNanoseconds: UInt64 = 0
    /// Sequences over all steps; divided by `steps` it is the mean batch size.
    package var stepSequences: UInt64 = 0
    package var stepTokens: UInt64 = 0
    package var embeddings: UInt64 = 0
    /// From sending the tokens of a text to the worker to its vector.
    package var embeddingNanoseconds: UInt64 = 0
    /// Sequences that made way for others.
    package var preemptions: UInt64 = 0
    /// Prompt tokens that tenants' kept prefixes were asked for, and those that were there.
    package var prefixQueries: UInt64 = 0
    package var prefixHits: UInt64 = 0
    /// Answers that began with a kept prefix, by where it was.
    package var prefixTiers = PrefixHits()
    package var loads: UInt64 = 0
    package var loadNanoseconds: UInt64 = 0
    package var unloads: UInt64 = 0
    package var crashes: UInt64 = 0
    /// Workers that were ended for what they held of their device; they count as crashes, too.
    package var overBudget: UInt64 = 0
    /// Steps that were sent as soon as another's result was taken in, and the host's time from that result to then.
    package var nextSteps: UInt64 = 0
    package var betweenStepsNanoseconds: UInt64 = 0
    /// Times the model got its device, how long it waited for that, and how long it had it.
    package var deviceTurns: UInt64 = 0
    package var deviceWaitNanoseconds: UInt64 = 0
    package var deviceHeldNanoseconds: UInt64 = 0
    package var tenants = TenantTotals()
    package var running = 0
    package var waiting = 0
    /// Replicas that are loaded, of all versions.
    package var loaded = 0
    /// Times that its worker died so often that loading was put off, and replicas for which it is at the moment.
    package var incidents: UInt64 = 0
    package var inIncident = 0
    package var tensors = TensorMetrics()
    package var histograms = ModelHistograms()
    package var cacheUse = CacheUse()
    /// Requests that asked for the response cache: answered from it, and not.
    package var responseHits: UInt64 = 0
    package var responseMisses: UInt64 = 0

    package init() {}
}

package struct PrefixHits: Equatable, Sendable {
    package var device: UInt64 = 0
    package var memory: UInt64 = 0
    package var disk: UInt64 = 0
    /// What the platform published, on the device.
    package var published: UInt64 = 0
}

/// What tenants got of a model, for as many of them as labels are reasonable.
package struct TenantTotals: Equatable, Sendable {
    package struct Totals: Equatable, Sendable {
        package var promptTokens: UInt64 = 0
        package var cachedTokens: UInt64 = 0
        package var completionTokens: UInt64 = 0
        /// Its parts of the steps that it was in.
        package var deviceNanoseconds: UInt64 = 0

        init(device nanoseconds: UInt64 = 0) { deviceNanoseconds = nanoseconds }

        init(_ usage: TokenUsage) {
            promptTokens = UInt64(usage.promptTokens)
            cachedTokens = UInt64(usage.cachedTokens)
            completionTokens = UInt64(usage.completionTokens)
        }

        mutating func add(_ more: Totals) {
            promptTokens += more.promptTokens
            cachedTokens += more.cachedTokens
            completionTokens += more.completionTokens
            deviceNanoseconds += more.deviceNanoseconds
        }
    }

    /// The name that stands for all tenants beyond the first thousand.
    package static let others = "_others"
    private static let most = 1000

    package private(set) var byName: [String: Totals] = [:]

    mutating func add(_ tenant: String, _ change: (inout Totals) -> Void) {
        let isNew = byName[tenant] == nil && byName.count >= Self.most
        change(&byName[isNew ? Self.others : tenant, default: Totals()])
    }
}

/// The counters of one model.
package final class ModelCounters: Sendable {
    private let values = Mutex(ModelMetrics())
    /// Takes what the host does with the model by itself.
    let usage: UsageLedger?

    package init(usage: UsageLedger? = nil) { self.usage = usage }

    package var now: ModelMetrics { values.withLock { $0 } }

    func update(_ change: (inout ModelMetrics) -> Void) { values.withLock { change(&$0) } }
}

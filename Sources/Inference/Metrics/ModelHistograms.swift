// What is measured of a model's requests and steps, beyond counting them; docs/metrics.md says what each means.

/// Distributions since the host started.
package struct ModelHistograms: Equatable, Sendable {
    /// From arrival at the host to the first token; the wait for a cold model is part of it.
    package var timeToFirstToken = Histogram(.request)
    /// Between two tokens of one answer.
    package var interToken = Histogram(.step)
    /// From arrival at the host to the end of the answer.
    package var endToEnd = Histogram(.request)
    /// From arrival at the loaded model to a place in the engine.
    package var queue = Histogram(.request)
    package var prefill = Histogram(.request)
    package var decode = Histogram(.request)
    package var promptTokens = Histogram(.tokens)
    package var generationTokens = Histogram(.tokens)
    /// Inside the engine.
    package var step = Histogram(.step)
    package var stepSequences = Histogram(.sequences)
    package var stepTokens = Histogram(.tokens)
    package var load = Histogram(.request)

    package init() {}

    /// One step of the engine.
    mutating func stepped(_ plan: StepPlan, nanoseconds: UInt64) {
        step.observe(nanoseconds)
        stepSequences.observe(plan.items.count)
        stepTokens.observe(plan.tokens)
    }
}

/// What the engine holds of its memory for keys and values, in tokens.
package struct CacheUse: Equatable, Sendable {
    /// Of sequences that run or wait for their next step.
    package var running = 0
    /// Of prompts that are over, kept for their tenant's next one: given up when others need the room.
    package var prefixes = 0
    package var capacity = 0

    package init() {}

    package init(running: Int, prefixes: Int, capacity: Int) {
        self.running = running
        self.prefixes = prefixes
        self.capacity = capacity
    }

    /// One replica of several says what it uses now, in place of what it said last.
    package mutating func change(by now: CacheUse, from last: CacheUse) {
        running += now.running - last.running
        prefixes += now.prefixes - last.prefixes
        capacity += now.capacity - last.capacity
    }
}

extension ModelMetrics {
    /// An answer is over. One whose caller left tells nothing of how long answers take.
    ///
    /// - Parameter took: nanoseconds since it arrived at the loaded model.
    mutating func finished(
        _ reason: FinishReason, _ usage: TokenUsage, _ timings: GenerationTimings, took: UInt64
    ) {
        guard reason != .cancelled else { return }
        answered(reason, usage, timings, took: took)
        histograms.prefill.observe(timings.prefill)
        histograms.decode.observe(timings.decode)
        histograms.generationTokens.observe(usage.completionTokens)
    }

    /// The same of a request that makes no tokens.
    mutating func answered(
        _ reason: FinishReason, _ usage: TokenUsage, _ timings: GenerationTimings, took: UInt64
    ) {
        finished[reason, default: 0] += 1
        histograms.endToEnd.observe(timings.load + took)
        histograms.queue.observe(timings.queue)
        histograms.promptTokens.observe(usage.promptTokens)
    }
}

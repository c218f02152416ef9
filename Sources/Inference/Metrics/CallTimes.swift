// What a call's row says of time, from what its runner measured.
internal import Ledger

extension UsageRow {
    /// One answer is over.
    mutating func add(_ timings: GenerationTimings) {
        queuedNanoseconds += timings.load + timings.queue
        runNanoseconds += timings.prefill + timings.decode
    }

    /// One run on tensors is over.
    mutating func add(_ timings: TensorTimings) {
        queuedNanoseconds += timings.load + timings.queue
        runNanoseconds += timings.infer
    }
}

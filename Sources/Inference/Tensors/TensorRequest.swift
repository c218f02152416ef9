// What is asked of a model on tensors and what comes back, as values that cross threads.
package import Ledger

package struct TensorRequest: Sendable {
    package enum Work: Sendable {
        /// What the model takes and gives.
        case signature
        /// One run.
        case infer(inputs: [Tensor])
    }

    package var tenant: String
    package var work: Work
    /// Told what it takes.
    package var meter: CallMeter?

    package init(tenant: String, work: Work) {
        self.tenant = tenant
        self.work = work
    }
}

/// Where the time of a run went, in nanoseconds.
package struct TensorTimings: Equatable, Sendable {
    /// Waiting for the model to be loaded.
    package var load: UInt64 = 0
    /// Waiting for others to join, and for the engine.
    package var queue: UInt64 = 0
    /// Inside the engine.
    package var infer: UInt64 = 0
}

package enum TensorResult: Sendable {
    case signature(TensorSignature)
    case outputs([Tensor], TensorTimings)
}

/// How a model's manifest lets requests be joined.
package struct TensorBatching: Equatable, Sendable {
    /// Rows of one run that was joined from several requests.
    package var maxRows: Int
    /// How long a request waits for others while the engine is free.
    package var maxDelayMicroseconds: UInt64

    package init(maxRows: Int, maxDelayMicroseconds: UInt64) {
        self.maxRows = maxRows
        self.maxDelayMicroseconds = maxDelayMicroseconds
    }
}

/// Counts of a model on tensors, since the host started; the statistics extension of the protocol tells them.
package struct TensorMetrics: Equatable, Sendable {
    package struct Times: Equatable, Sendable {
        package var count: UInt64 = 0
        package var nanoseconds: UInt64 = 0

        mutating func add(_ nanoseconds: UInt64) {
            count += 1
            self.nanoseconds += nanoseconds
        }
    }

    /// Rows over all requests; a request without a free first dimension counts one.
    package var rows: UInt64 = 0
    /// Runs of the engine.
    package var executions: UInt64 = 0
    /// Requests, from arrival at the loaded model to the answer.
    package var succeeded = Times()
    package var failed = Times()
    package var queued = Times()
    /// Joining the inputs and handing them over, running, and taking the outputs apart, a run each.
    package var input = Times()
    package var infer = Times()
    package var output = Times()
    /// Runs of more rows are counted, but not apart: a client chooses their number.
    package static let mostRowsApart = 4096

    /// Time inside the engine by the rows of a run.
    package var byRows: [Int: Times] = [:]
    /// Milliseconds since 1970; 0: none yet.
    package var lastMilliseconds: UInt64 = 0

    package init() {}
}

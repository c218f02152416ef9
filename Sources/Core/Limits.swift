// What one function or model may use; the manifest asks, the sandbox and the scheduler enforce.

package struct Limits: Sendable, Equatable {
    /// Memory of one worker.
    package var memoryBytes: UInt64
    /// Memory of its device; 0 without a device.
    package var deviceMemoryBytes: UInt64
    /// From the lease to the last byte of the answer.
    package var timeoutMilliseconds: Int
    /// One operation of a model's engine: a step, a prompt's tokens, a vector. Beyond it the worker is ended.
    package var stepMilliseconds: Int
    /// Invocations at the same time, each in a worker of its own.
    package var concurrency: Int
    /// Requests that may wait when all workers are busy.
    package var queue: Int
    package var queueTimeoutMilliseconds: Int
    /// Per cent of one core, for each worker.
    package var cpuPercent: UInt32
    /// Its share beside other workers of the same tenant, where they want more than there is.
    package var cpuWeight: UInt32
    package var threads: UInt32
    /// Open file descriptors of one worker.
    package var files: UInt32
    /// The largest request body.
    package var bodyBytes: UInt64
    /// The largest response body.
    package var responseBytes: UInt64
    /// Requests to it; nil: not bounded.
    package var rate: RequestRate?

    /// What a manifest that says nothing gets.
    package init(defaultsFor kind: PluginKind) {
        memoryBytes = kind == .handler ? 128 << 20 : 1 << 30
        deviceMemoryBytes = 0
        timeoutMilliseconds = 30_000
        stepMilliseconds = 120_000
        concurrency = 8
        queue = 256
        queueTimeoutMilliseconds = 10_000
        cpuPercent = 100
        cpuWeight = 100
        threads = 1
        files = kind == .handler ? 16 : 64
        bodyBytes = 6 << 20
        responseBytes = 64 << 20
    }
}

extension Limits {
    /// What a manifest may ask for, in the manifest's own units.
    package enum Range {
        package static let memoryMebibytes: ClosedRange<Int64> = 4...1_048_576
        package static let deviceMemoryMebibytes: ClosedRange<Int64> = 1...4_194_304
        package static let timeoutMilliseconds: ClosedRange<Int64> = 1...3_600_000
        package static let stepMilliseconds: ClosedRange<Int64> = 1...3_600_000
        package static let concurrency: ClosedRange<Int64> = 1...1024
        package static let queue: ClosedRange<Int64> = 0...65_536
        package static let queueTimeoutMilliseconds: ClosedRange<Int64> = 0...600_000
        package static let cpuPercent: ClosedRange<Int64> = 1...25_600
        package static let cpuWeight: ClosedRange<Int64> = 1...10_000
        package static let threads: ClosedRange<Int64> = 1...256
        package static let files: ClosedRange<Int64> = 8...4096
        package static let bodyMebibytes: ClosedRange<Int64> = 1...4096
        package static let responseMebibytes: ClosedRange<Int64> = 1...65_536
    }
}

// One call that is over and what it took: the unit of the usage ledger, and the sums of such.

/// An invocation of a function, or a call of a model.
package struct UsageRow: Sendable, Equatable {
    package enum Kind: String, Sendable, Hashable { case invoke, model }

    /// What the four words of a roll-up are; `Outcome.name` has more of them.
    package enum Class: String, Sendable, Hashable, CaseIterable { case success, refused, failed, cancelled }

    /// Outcomes beside those of `Outcome.name`: nothing ran, and it was told why.
    package static let refused = "refused"

    /// Milliseconds since 1970 at its end.
    package var time: Int64 = 0
    package var requestID = ""
    package var tenant = ""
    /// `Principal.id`, or `host` for what the host does by itself.
    package var principal = ""
    package var kind = Kind.invoke
    package var name = ""
    package var version = ""
    /// By which door it came: `fn`, `chat`, …; with `call:` before it when a handler asked.
    package var route = ""
    package var outcome = ""
    /// Of the answer; 0: none was sent.
    package var status = 0
    /// It waited for a worker or a model to start.
    package var isCold = false
    package var queuedNanoseconds: UInt64 = 0
    package var runNanoseconds: UInt64 = 0
    /// The model's device, by this call's part of each step.
    package var deviceNanoseconds: UInt64 = 0
    /// Of the handler's worker; nil: it has not told.
    package var cpuNanoseconds: UInt64?
    /// Of a worker that ended with this call.
    package var memoryPeakBytes: UInt64?
    package var tokensIn: UInt64 = 0
    package var tokensCached: UInt64 = 0
    package var tokensOut: UInt64 = 0
    package var bytesIn: UInt64 = 0
    package var bytesOut: UInt64 = 0

    package init() {}

    package var outcomeClass: Class {
        switch outcome {
        case "success": .success
        case "refused": .refused
        case "cancelled": .cancelled
        default: .failed
        }
    }
}

/// Sums over calls.
package struct UsageSums: Sendable, Equatable {
    package var calls: UInt64 = 0
    package var cold: UInt64 = 0
    package var queuedNanoseconds: UInt64 = 0
    package var runNanoseconds: UInt64 = 0
    package var deviceNanoseconds: UInt64 = 0
    package var cpuNanoseconds: UInt64 = 0
    /// The greatest.
    package var memoryPeakBytes: UInt64 = 0
    package var tokensIn: UInt64 = 0
    package var tokensCached: UInt64 = 0
    package var tokensOut: UInt64 = 0
    package var bytesIn: UInt64 = 0
    package var bytesOut: UInt64 = 0

    package init() {}

    package mutating func add(_ row: UsageRow) {
        calls += 1
        cold += row.isCold ? 1 : 0
        queuedNanoseconds &+= row.queuedNanoseconds
        runNanoseconds &+= row.runNanoseconds
        deviceNanoseconds &+= row.deviceNanoseconds
        cpuNanoseconds &+= row.cpuNanoseconds ?? 0
        memoryPeakBytes = max(memoryPeakBytes, row.memoryPeakBytes ?? 0)
        tokensIn &+= row.tokensIn
        tokensCached &+= row.tokensCached
        tokensOut &+= row.tokensOut
        bytesIn &+= row.bytesIn
        bytesOut &+= row.bytesOut
    }

    package mutating func add(_ other: UsageSums) {
        calls += other.calls
        cold += other.cold
        queuedNanoseconds &+= other.queuedNanoseconds
        runNanoseconds &+= other.runNanoseconds
        deviceNanoseconds &+= other.deviceNanoseconds
        cpuNanoseconds &+= other.cpuNanoseconds
        memoryPeakBytes = max(memoryPeakBytes, other.memoryPeakBytes)
        tokensIn &+= other.tokensIn
        tokensCached &+= other.tokensCached
        tokensOut &+= other.tokensOut
        bytesIn &+= other.bytesIn
        bytesOut &+= other.bytesOut
    }
}

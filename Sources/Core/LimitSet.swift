// What one level of the host's limits says: nothing, or numbers that requests are held to; docs/limits.md is for the reader.

/// Where a limit is set; wider ones come first.
package enum LimitLevel: String, Sendable, CaseIterable {
    /// All requests together.
    case platform
    case tenant
    case key
    case function
}

/// What a limit bounds; the raw value is its name in files, errors and metrics.
package enum LimitKind: String, Sendable, CaseIterable {
    case requestsPerSecond = "requests_per_second"
    case concurrency
    case queue
    case body = "body_mb"
    case cpuPerMinute = "cpu_seconds_per_minute"
    case cpuPerDay = "cpu_seconds_per_day"
    case memory = "memory_mb"
    case storage = "storage_mb"
    case egressPerMinute = "egress_mb_per_minute"
    case egressPerDay = "egress_mb_per_day"
}

/// Which limit refused a request.
package struct LimitHit: Sendable, Equatable {
    package let level: LimitLevel
    package let kind: LimitKind
    /// When it makes sense to ask again; nil when waiting does not help.
    package let retryAfterMilliseconds: UInt64?

    package init(_ level: LimitLevel, _ kind: LimitKind, retryAfterMilliseconds: UInt64? = nil) {
        self.level = level
        self.kind = kind
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }
}

/// Requests in the long run, and at once after a pause.
package struct RequestRate: Sendable, Equatable {
    /// Requests in 1000 seconds: whole, so that nothing is lost by rounding.
    package var perThousandSeconds: UInt64
    package var burst: UInt64

    package static let highest = 1_000_000.0
    package static let lowest = 0.001
    package static let bursts: ClosedRange<Int64> = 1...1_000_000

    /// - Parameter burst: nil: what comes in one second, at least one.
    package init(perSecond: Double, burst: UInt64?) {
        perThousandSeconds = max(1, UInt64((perSecond * 1000).rounded()))
        self.burst = burst ?? max(1, UInt64(perSecond.rounded(.up)))
    }

    package var perSecond: Double { Double(perThousandSeconds) / 1000 }
}

/// Limits of one level. What is nil is not bounded there.
package struct LimitSet: Equatable, Sendable {
    package var rate: RequestRate?
    /// Requests that are in the host at the same time, waiting ones among them.
    package var concurrency: Int?
    /// Calls of functions that wait for a worker.
    package var queue: Int?
    package var bodyBytes: UInt64?
    /// Nanoseconds of the processor inside handlers.
    package var cpuPerMinute: UInt64?
    package var cpuPerDay: UInt64?
    /// What the memory limits of live workers may add up to.
    package var memoryBytes: UInt64?
    /// What the files of deployed functions may add up to.
    package var storageBytes: UInt64?
    /// Bytes of answers.
    package var egressPerMinute: UInt64?
    package var egressPerDay: UInt64?

    package init() {}

    package var isEmpty: Bool { self == LimitSet() }

    /// Both at once: of each limit the tighter one.
    package func tightened(by other: LimitSet?) -> LimitSet {
        guard let other else { return self }
        var result = self
        if let rate, let more = other.rate {
            result.rate?.perThousandSeconds = min(rate.perThousandSeconds, more.perThousandSeconds)
            result.rate?.burst = min(rate.burst, more.burst)
        } else {
            result.rate = rate ?? other.rate
        }
        result.concurrency = Self.tighter(concurrency, other.concurrency)
        result.queue = Self.tighter(queue, other.queue)
        for field in Self.sizes {
            result[keyPath: field.path] = Self.tighter(self[keyPath: field.path], other[keyPath: field.path])
        }
        return result
    }

    private static func tighter<Number: Comparable>(_ a: Number?, _ b: Number?) -> Number? {
        guard let a, let b else { return a ?? b }
        return min(a, b)
    }
}

extension LimitSet {
    private struct Size {
        let kind: LimitKind
        let path: WritableKeyPath<LimitSet, UInt64?>
        /// What one of the file's unit is.
        let unit: Double
    }

    private static var sizes: [Size] {
        [
            Size(kind: .body, path: \.bodyBytes, unit: 1_048_576),
            Size(kind: .cpuPerMinute, path: \.cpuPerMinute, unit: 1e9),
            Size(kind: .cpuPerDay, path: \.cpuPerDay, unit: 1e9),
            Size(kind: .memory, path: \.memoryBytes, unit: 1_048_576),
            Size(kind: .storage, path: \.storageBytes, unit: 1_048_576),
            Size(kind: .egressPerMinute, path: \.egressPerMinute, unit: 1_048_576),
            Size(kind: .egressPerDay, path: \.egressPerDay, unit: 1_048_576),
        ]
    }

    /// What a level can't have, because nothing of it is a key's alone.
    private static func isOffered(_ kind: LimitKind, at level: LimitLevel) -> Bool {
        level != .key || (kind != .memory && kind != .storage)
    }

    /// The names of its members in JSON.
    static func members(at level: LimitLevel) -> [String] {
        LimitKind.allCases.filter { isOffered($0, at: level) }.map(\.rawValue) + ["burst"]
    }

    /// - Parameters:
    ///   - name: of the object, for errors.
    ///   - step: opens every error.
    ///   - others: members of the object that somebody else reads.
    package init(
        _ value: JSONValue, at level: LimitLevel, name: String, step: String, beside others: [String] = []
    ) throws(RuntimeError) {
        let reader = try ManifestReader(
            value, prefix: name + ".", known: Self.members(at: level) + others, step: step, docs: "docs/limits.md")
        rate = try RequestRate(reader)
        concurrency = try reader.integer(LimitKind.concurrency.rawValue, in: 1...1_000_000).map { Int($0) }
        queue = try reader.integer(LimitKind.queue.rawValue, in: 0...1_000_000).map { Int($0) }
        for size in Self.sizes {
            let number = try reader.number(size.kind.rawValue, in: 0.001...1e9, "a number from 0.001 to 1000000000")
            if let number { self[keyPath: size.path] = UInt64((number * size.unit).rounded()) }
        }
    }

    /// What `init` reads back to an equal value.
    package var value: JSONValue {
        var members: [String: JSONValue] = [:]
        if let rate {
            members[LimitKind.requestsPerSecond.rawValue] = .number(rate.perSecond)
            members["burst"] = .integer(Int64(rate.burst))
        }
        if let concurrency { members[LimitKind.concurrency.rawValue] = .integer(Int64(concurrency)) }
        if let queue { members[LimitKind.queue.rawValue] = .integer(Int64(queue)) }
        for size in Self.sizes {
            if let number = self[keyPath: size.path] {
                members[size.kind.rawValue] = .number(Double(number) / size.unit)
            }
        }
        return .object(members)
    }
}

extension RequestRate {
    /// `requests_per_second` and `burst` of an object; nil when it has neither.
    init?(_ reader: ManifestReader) throws(RuntimeError) {
        let key = LimitKind.requestsPerSecond.rawValue
        let perSecond = try reader.number(
            key, in: Self.lowest...Self.highest, "a number of requests from 0.001 to 1000000")
        let burst = try reader.integer("burst", in: Self.bursts)
        guard let perSecond else {
            guard burst == nil else {
                throw reader.failure(key, expected: "what 'burst' goes with", found: nil)
            }
            return nil
        }
        self.init(perSecond: perSecond, burst: burst.map { UInt64($0) })
    }
}

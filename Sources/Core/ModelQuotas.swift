// How much of the models somebody may take: a tenant, a key, or all together. docs/quotas.md is for the reader.

/// What a quota counts; the raw value is its name in files, errors and answers.
package enum QuotaMeter: String, Sendable, CaseIterable {
    case tokensPerMinute = "tokens_per_minute"
    case tokensPerDay = "tokens_per_day"
    /// Of all time: a budget.
    case tokensTotal = "tokens_total"
    case deviceSecondsPerMinute = "device_seconds_per_minute"
    case deviceSecondsPerDay = "device_seconds_per_day"

    /// Milliseconds after which it starts anew, counted from 1970 in UTC; nil: never.
    package var window: Int64? {
        switch self {
        case .tokensPerMinute, .deviceSecondsPerMinute: 60_000
        case .tokensPerDay, .deviceSecondsPerDay: 86_400_000
        case .tokensTotal: nil
        }
    }

    package var countsTokens: Bool {
        switch self {
        case .tokensPerMinute, .tokensPerDay, .tokensTotal: true
        case .deviceSecondsPerMinute, .deviceSecondsPerDay: false
        }
    }
}

/// What is not here is not bounded.
package struct ModelQuotas: Equatable, Sendable {
    /// Tokens; device time in nanoseconds.
    package var meters: [QuotaMeter: Int64] = [:]
    /// Model requests that run or wait at the same time.
    package var requestsAtOnce: Int?

    package init(_ meters: [QuotaMeter: Int64] = [:], requestsAtOnce: Int? = nil) {
        self.meters = meters
        self.requestsAtOnce = requestsAtOnce
    }

    package var isEmpty: Bool { meters.isEmpty && requestsAtOnce == nil }

    /// Both at once: of each quota the tighter one.
    package func tightened(by other: ModelQuotas) -> ModelQuotas {
        let most = [requestsAtOnce, other.requestsAtOnce].compactMap(\.self).min()
        return ModelQuotas(meters.merging(other.meters) { min($0, $1) }, requestsAtOnce: most)
    }
}

extension ModelQuotas {
    private static let requests = "requests_at_once"

    /// The names of its members in JSON.
    package static let members = [requests] + QuotaMeter.allCases.map(\.rawValue)

    /// - Parameter reader: of an object that may have other members, too.
    init(_ reader: ManifestReader) throws(RuntimeError) {
        requestsAtOnce = try reader.integer(Self.requests, in: 1...65_536).map { Int($0) }
        for meter in QuotaMeter.allCases {
            guard let limit = try reader.number(meter.rawValue, in: 0...1e15, "a number from 0 up") else { continue }
            meters[meter] = Int64(meter.countsTokens ? limit : min((limit * 1e9).rounded(), 9e18))
        }
    }

    /// What `init` reads back to an equal value.
    var values: [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        if let requestsAtOnce { members[Self.requests] = .integer(Int64(requestsAtOnce)) }
        for (meter, limit) in meters {
            members[meter.rawValue] = meter.countsTokens ? .integer(limit) : .number(Double(limit) / 1e9)
        }
        return members
    }
}

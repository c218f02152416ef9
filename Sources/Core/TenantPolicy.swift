// What a tenant may take of the models, and its share of one that others want too; read from `serve --tenants FILE`.

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

package struct TenantPolicy: Equatable, Sendable {
    /// Its share of a model beside tenants of weight 1.
    package var weight = 1.0
    /// Tokens; device time in nanoseconds. A meter that is not here is not bounded.
    package var quotas: [QuotaMeter: Int64] = [:]
    /// Model requests that run or wait at the same time.
    package var requestsAtOnce: Int?

    package init() {}
}

/// The policies of all tenants, by name; `*` is everybody else's.
package struct TenantPolicies: Equatable, Sendable {
    private var named: [String: TenantPolicy] = [:]
    private var others = TenantPolicy()

    package init() {}

    /// Those that have a policy of their own.
    package var names: Set<String> { Set(named.keys) }

    package func policy(of tenant: String) -> TenantPolicy { named[tenant] ?? others }

    /// The same, where tenants with a policy in the registry have that one.
    package func overridden(by policies: [String: TenantPolicy]) -> TenantPolicies {
        var result = self
        result.named.merge(policies) { _, newer in newer }
        return result
    }

    /// - Parameter file: its name, for errors.
    package init(json5: [UInt8], file: String) throws(RuntimeError) {
        let step = "tenants file \(file)"
        guard case .object(let tenants) = try JSON5.decode(json5, step: step) else {
            throw RuntimeError(
                .badRequest, step: step, cause: "it is not an object",
                next: "write { tenant: { … } }; see docs/quotas.md")
        }
        for (name, value) in tenants {
            if name != "*" { try Names.validate(name, as: "tenant in \(file)") }
            let policy = try TenantPolicy(value, name: name, step: step)
            if name == "*" { others = policy } else { named[name] = policy }
        }
    }
}

extension TenantPolicy {
    /// What `init` reads back to an equal value.
    var value: JSONValue {
        var members: [String: JSONValue] = ["weight": .number(weight)]
        if let requestsAtOnce { members["requests_at_once"] = .integer(Int64(requestsAtOnce)) }
        for (meter, limit) in quotas {
            members[meter.rawValue] = meter.countsTokens ? .integer(limit) : .number(Double(limit) / 1e9)
        }
        return .object(members)
    }

    init(_ value: JSONValue, name: String, step: String) throws(RuntimeError) {
        let known = ["weight", "requests_at_once"] + QuotaMeter.allCases.map(\.rawValue)
        let reader = try ManifestReader(value, prefix: name + ".", known: known, step: step, docs: "docs/quotas.md")
        weight = try reader.number("weight", in: 0.01...1000, "a number from 0.01 to 1000") ?? 1
        requestsAtOnce = try reader.integer("requests_at_once", in: 1...65_536).map { Int($0) }
        for meter in QuotaMeter.allCases {
            guard let limit = try reader.number(meter.rawValue, in: 0...1e15, "a number from 0 up") else { continue }
            quotas[meter] = Int64(meter.countsTokens ? limit : min((limit * 1e9).rounded(), 9e18))
        }
    }
}

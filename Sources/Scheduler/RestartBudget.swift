// How often workers that died may be replaced: a pure value; Dispatcher asks it before each start.
package import Core
package import Platform

/// Each start of a worker is work of the zygote and the kernel that no limit of a function counts. A function that is
/// called, and has its workers replaced, costs nothing here; one whose workers die is bounded, and so is its tenant.
///
/// Two token buckets, kept as what has been spent: every death spends one, `rate` a second come back. A tenant has as much as
/// `functionsPerTenant` of its functions, and only those of them that died lately are refused for it.
package struct RestartBudget {
    /// Deaths that cost nobody a wait.
    package static var burst: Double { 20 }
    private static var functionsPerTenant: Double { 4 }
    /// Accounts beyond this are looked through for settled ones.
    private static var kept: Int { 1024 }

    private struct Account {
        var spent = 0.0
        var asOf: MonotonicTime
        var cause = ""

        func spent(_ now: MonotonicTime, rate: Double) -> Double {
            max(0, spent - rate * Double(now.since(asOf)) / 1e9)
        }
    }

    private let rate: Double
    private var functions: [FunctionKey: Account] = [:]
    private var tenants: [String: Account] = [:]

    /// - Parameter rate: replacements a second for each function; 0 is no bound.
    package init(rate: Double) { self.rate = rate }

    /// A worker ended that nobody had asked to.
    package mutating func died(_ key: FunctionKey, cause: String, now: MonotonicTime) {
        guard rate > 0 else { return }
        let tenantRate = rate * Self.functionsPerTenant
        Self.spend(&functions[key, default: Account(asOf: now)], cause, now, rate: rate)
        Self.spend(&tenants[key.tenant, default: Account(asOf: now)], cause, now, rate: tenantRate)
        if functions.count > Self.kept { functions = functions.filter { $0.value.spent(now, rate: rate) > 0 } }
        if tenants.count > Self.kept { tenants = tenants.filter { $0.value.spent(now, rate: tenantRate) > 0 } }
    }

    private static func spend(_ account: inout Account, _ cause: String, _ now: MonotonicTime, rate: Double) {
        account = Account(spent: account.spent(now, rate: rate) + 1, asOf: now, cause: cause)
    }

    /// For tests of what is kept.
    var accounts: Int { functions.count }

    /// A start that has to wait: for so long, and how its last worker ended.
    package struct Wait: Equatable, Sendable {
        package let milliseconds: UInt64
        package let lastEnd: String
    }

    /// nil: a worker may be started now.
    package func wait(for key: FunctionKey, now: MonotonicTime) -> Wait? {
        guard let own = functions[key] else { return nil }
        let mine = own.spent(now, rate: rate)
        let all = tenants[key.tenant]?.spent(now, rate: rate * Self.functionsPerTenant) ?? 0
        let over = max(mine - Self.burst + 1, mine > 0 ? (all + 1) / Self.functionsPerTenant - Self.burst : 0)
        guard over > 0 else { return nil }
        return Wait(milliseconds: UInt64((over / rate * 1000).rounded(.up)), lastEnd: own.cause)
    }
}

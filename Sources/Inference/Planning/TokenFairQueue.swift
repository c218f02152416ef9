// Whose turn it is, by the tokens each tenant has had: a virtual counter for each tenant. Pure.

/// Virtual token counters with weights, after "Fairness in Serving Large Language Models" (VTC, OSDI 2024,
/// arXiv:2401.00588), with the deficit of DLPM (arXiv:2501.14312): a tenant may be preferred for what the engine still
/// holds of its prompts, as long as its counter leads by no more than `localityDeficit`.
///
/// A tenant's counter grows by what its tokens cost, divided by its weight; the lowest counter is served next. A tenant that
/// comes back starts no lower than the lowest of those that were busy meanwhile, so idling earns no credit; and it keeps its
/// debt, so leaving pays none off. Work is never held back: whoever waits alone is served.
///
/// For two tenants that both have requests waiting all the time, the difference of what each got, divided by its weight, is at
/// most `2 · max(inputCost · longest prompt, outputCost · tokens in the engine) + localityDeficit`, over any span.
package struct TokenFairQueue: Sendable {
    package struct Costs: Equatable, Sendable {
        /// Of a prompt's token, and of an answer's: the paper's, after the prices that providers ask.
        package var input = 1.0
        package var output = 2.0
        /// Cost of service by which locality may break the order.
        package var localityDeficit = 512.0

        package init() {}
    }

    package let costs: Costs
    private var counters: [String: Double] = [:]
    /// Requests of each tenant that wait or run.
    private var active: [String: Int] = [:]
    /// No inactive tenant comes back below this.
    private var floor = 0.0

    package init(costs: Costs = Costs()) { self.costs = costs }

    /// Tenants that are remembered; those without requests and without debt are not.
    package var tenantCount: Int { counters.count }

    package func counter(of tenant: String) -> Double { max(counters[tenant] ?? floor, floor) }

    /// A request came.
    package mutating func arrive(_ tenant: String) {
        raiseFloor()
        if active[tenant] == nil { counters[tenant] = counter(of: tenant) }
        active[tenant, default: 0] += 1
    }

    /// A request is over.
    package mutating func leave(_ tenant: String) {
        guard let count = active[tenant] else { return }
        guard count == 1 else { return active[tenant] = count - 1 }
        active[tenant] = nil
        // When nobody is left, nobody waits for what another got.
        guard !active.isEmpty else { return counters = [:] }
        raiseFloor()
        let paid = floor
        counters = counters.filter { active[$0.key] != nil || $0.value > paid }
    }

    private mutating func raiseFloor() {
        floor = max(floor, active.keys.compactMap { counters[$0] }.min() ?? floor)
    }

    /// Books what a tenant got; a negative number takes back what was booked and not given.
    package mutating func charge(_ tenant: String, weight: Double, input: Int = 0, output: Int = 0) {
        counters[tenant, default: floor] += (Double(input) * costs.input + Double(output) * costs.output) / weight
    }

    /// The tenant to serve next.
    ///
    /// - Parameter waiting: tenants with a request to serve, each with the prompt tokens that it need not read again.
    package func next(_ waiting: [(tenant: String, held: Int)]) -> String? {
        guard let lowest = waiting.lazy.map({ counter(of: $0.tenant) }).min() else { return nil }
        let entitled = waiting.lazy.filter { counter(of: $0.tenant) <= lowest + costs.localityDeficit }
        return entitled.max {
            (-$0.held, counter(of: $0.tenant), $0.tenant) > (-$1.held, counter(of: $1.tenant), $1.tenant)
        }?
        .tenant
    }
}

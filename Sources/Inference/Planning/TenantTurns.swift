// Whose operation goes to the worker next: requests of one operation at a time, by TokenFairQueue. Pure; EmbeddingRunner asks.

/// Tenants with requests in turn, each tenant's own in the order they came.
struct TenantTurns {
    private var fairness: TokenFairQueue
    private var requests: [String: [GenerationID]] = [:]
    private var owners: [GenerationID: String] = [:]
    private var lastTurn: [String: Int] = [:]
    private var turn = 0

    init() {
        var costs = TokenFairQueue.Costs()
        // Nothing is kept between texts, so nobody is preferred.
        costs.localityDeficit = 0
        fairness = TokenFairQueue(costs: costs)
    }

    var isEmpty: Bool { owners.isEmpty }

    mutating func add(_ id: GenerationID, tenant: String) {
        fairness.arrive(tenant)
        requests[tenant, default: []].append(id)
        owners[id] = tenant
    }

    /// A request is over; an unknown one is fine.
    mutating func remove(_ id: GenerationID) {
        guard let tenant = owners.removeValue(forKey: id), var own = requests[tenant] else { return }
        fairness.leave(tenant)
        own.removeAll { $0 == id }
        requests[tenant] = own.isEmpty ? nil : own
        if own.isEmpty { lastTurn[tenant] = nil }
    }

    /// The request whose operation is next, of equals that of the tenant whose turn was longest ago. It keeps its place.
    mutating func next() -> GenerationID? {
        let waiting = requests.keys.map { (tenant: $0, held: -lastTurn[$0, default: 0]) }
        guard let tenant = fairness.next(waiting), let first = requests[tenant]?.first else { return nil }
        turn += 1
        lastTurn[tenant] = turn
        return first
    }

    /// Counts what an operation of this request takes.
    mutating func charge(_ id: GenerationID, tokens: Int, weight: Double) {
        guard let tenant = owners[id] else { return }
        fairness.charge(tenant, weight: weight, input: max(1, tokens))
    }
}

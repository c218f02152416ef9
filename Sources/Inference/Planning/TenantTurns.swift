// Whose operation goes to the worker next: the tenant that has had the fewest tokens. Pure; EmbeddingRunner asks.

/// Tenants with requests in turn, each tenant's own in the order they came.
struct TenantTurns {
    private struct Tenant {
        /// Tokens it was served since somebody last had to wait, and what a newcomer is taken to have had.
        var served: UInt64 = 0
        var lastTurn: UInt64 = 0
        var requests: [GenerationID] = []
    }

    private var tenants: [String: Tenant] = [:]
    private var owners: [GenerationID: String] = [:]
    private var turn: UInt64 = 0

    var isEmpty: Bool { owners.isEmpty }

    mutating func add(_ id: GenerationID, tenant name: String) {
        var tenant = tenants[name] ?? Tenant()
        if tenant.requests.isEmpty {
            // Time away earns nothing: it begins beside the one that has had the least.
            let least = tenants.values.filter { !$0.requests.isEmpty }.map(\.served).min() ?? 0
            tenant.served = max(tenant.served, least)
        }
        tenant.requests.append(id)
        tenants[name] = tenant
        owners[id] = name
    }

    /// A request is over; an unknown one is fine.
    mutating func remove(_ id: GenerationID) {
        guard let name = owners.removeValue(forKey: id) else { return }
        tenants[name]?.requests.removeAll { $0 == id }
        // With nobody in turn there is nothing to be fair about.
        if owners.isEmpty { tenants = [:] }
    }

    /// The request whose operation is next, of equals that of the tenant whose turn was longest ago. It keeps its place.
    mutating func next() -> GenerationID? {
        let waiting = tenants.filter { !$0.value.requests.isEmpty }
        let first = waiting.min { ($0.value.served, $0.value.lastTurn) < ($1.value.served, $1.value.lastTurn) }
        guard let (name, tenant) = first else { return nil }
        turn += 1
        tenants[name]?.lastTurn = turn
        return tenant.requests[0]
    }

    /// Counts what an operation of this request takes.
    mutating func charge(_ id: GenerationID, tokens: Int) {
        guard let name = owners[id] else { return }
        tenants[name]?.served += UInt64(max(1, tokens))
    }
}

// Bounds how many requests wait for one model, in all and for each tenant. Pure.

struct WaitingRoom {
    private let maxInAll: Int
    private let maxPerTenant: Int
    private var tenants: [GenerationID: String] = [:]
    private var perTenant: [String: Int] = [:]

    init(maxInAll: Int, maxPerTenant: Int) {
        self.maxInAll = maxInAll
        self.maxPerTenant = maxPerTenant
    }

    var count: Int { tenants.count }

    mutating func enter(_ id: GenerationID, tenant: String) throws(OpenAIError) {
        guard tenants.count < maxInAll else { throw .queueFull("all tenants", waiting: tenants.count) }
        let own = perTenant[tenant, default: 0]
        guard own < maxPerTenant else { throw .queueFull("this tenant", waiting: own) }
        tenants[id] = tenant
        perTenant[tenant] = own + 1
    }

    /// A request waits no more; leaving twice is fine.
    mutating func leave(_ id: GenerationID) {
        guard let tenant = tenants.removeValue(forKey: id), let count = perTenant[tenant] else { return }
        perTenant[tenant] = count == 1 ? nil : count - 1
    }
}

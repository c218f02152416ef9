// Whose quotas a request draws on: its key's, its tenant's and the platform's, all of them or none.
package import Core

/// Whose account it is.
package enum QuotaOwner: Hashable, Sendable {
    case platform
    case tenant(String)
    /// By the key that the account began with; those that took its place share it.
    case key(String)

    package var level: LimitLevel {
        switch self {
        case .platform: .platform
        case .tenant: .tenant
        case .key: .key
        }
    }
}

/// One account, and how far it may be drawn on.
package struct QuotaAccount: Sendable {
    package let owner: QuotaOwner
    package let quotas: ModelQuotas

    package init(_ owner: QuotaOwner, _ quotas: ModelQuotas) {
        self.owner = owner
        self.quotas = quotas
    }
}

/// Who pays for a request.
package struct QuotaPayer: Hashable, Sendable {
    package let tenant: String
    /// `Principal.id` of who asks: a key may have quotas of its own.
    package let principal: String?

    package init(tenant: String, principal: String? = nil) {
        self.tenant = tenant
        self.principal = principal
    }
}

/// Which quota ended or refused something, as answers name it.
package struct QuotaName: Equatable, Sendable {
    package let name: String
    package let level: LimitLevel

    package init(_ meter: QuotaMeter, _ level: LimitLevel) {
        name = meter.rawValue
        self.level = level
    }

    private init(name: String, level: LimitLevel) {
        self.name = name
        self.level = level
    }

    static func requestsAtOnce(_ level: LimitLevel) -> QuotaName { QuotaName(name: "requests_at_once", level: level) }

    /// Two members of a JSON object that has others before them.
    static func write(_ json: inout JSONWriter, _ quota: QuotaName?) {
        guard let quota else { return }
        json.raw(",\"swiftlet_quota\":")
        json.string(quota.name)
        json.raw(",\"swiftlet_quota_level\":")
        json.string(quota.level.rawValue)
    }
}

/// Everybody's quotas of the models.
package struct QuotaPolicies: Sendable {
    /// Of a key: what it may take, and where that is counted.
    package struct Key: Sendable {
        package let account: String
        package let quotas: ModelQuotas

        package init(account: String, quotas: ModelQuotas) {
            self.account = account
            self.quotas = quotas
        }
    }

    package var tenants: TenantPolicies
    /// What all take together.
    package var platform: ModelQuotas
    /// Those that have any, by `Principal.id`.
    package var keys: [String: Key]
    /// The account of every key that there is, by `Principal.id`; what others took is forgotten.
    package var issued: [String: String]

    package init(
        tenants: TenantPolicies = TenantPolicies(), platform: ModelQuotas = ModelQuotas(), keys: [String: Key] = [:],
        issued: [String: String] = [:]
    ) {
        self.tenants = tenants
        self.platform = platform
        self.keys = keys
        self.issued = issued
    }

    /// The accounts that bound a request, the narrow ones first; empty: nothing does.
    func accounts(of payer: QuotaPayer) -> [QuotaAccount] {
        let tenant = tenants.policy(of: payer.tenant).quotas
        let key = key(of: payer)
        // Most have one or none.
        if key == nil, platform.isEmpty {
            return tenant.isEmpty ? [] : [QuotaAccount(.tenant(payer.tenant), tenant)]
        }
        var accounts: [QuotaAccount] = []
        if let key { accounts.append(QuotaAccount(.key(key.account), key.quotas)) }
        if !tenant.isEmpty { accounts.append(QuotaAccount(.tenant(payer.tenant), tenant)) }
        if !platform.isEmpty { accounts.append(QuotaAccount(.platform, platform)) }
        return accounts
    }

    func key(of payer: QuotaPayer) -> Key? {
        guard !keys.isEmpty, let principal = payer.principal else { return nil }
        return keys[principal]
    }
}

// What a good token is worth here: its claims become tenant, role and patterns by the issuer's policy.
internal import Core

extension IssuerPolicy {
    func principal(_ verified: VerifiedClaims, claims: [String: JSONValue]) throws(JWTRefusal) -> Principal {
        let role = try strongest(of: try role.values(in: claims))
        return Principal(
            id: "jwt:\(verified.subject)", tenant: role.isPlatform ? nil : try tenantName(claims), role: role,
            functions: try functions.map { (rule) throws(JWTRefusal) in try rule.patterns(in: claims) },
            models: try models.map { (rule) throws(JWTRefusal) in try rule.patterns(in: claims) })
    }

    /// Words that are no role, and roles that this issuer must not give, count for nothing.
    private func strongest(of words: [String]) throws(JWTRefusal) -> Role {
        let offered = Role.offered(isPlatform: isPlatform, hasTenant: tenant != nil)
        guard let role = offered.first(where: { words.contains($0.rawValue) }) else {
            throw JWTRefusal(.mapping, "no claim of the token gives a role here")
        }
        return role
    }

    private func tenantName(_ claims: [String: JSONValue]) throws(JWTRefusal) -> String {
        let names = Set(try tenant?.values(in: claims) ?? [])
        guard names.count <= 1 else { throw JWTRefusal(.mapping, "the token speaks for several tenants") }
        guard let name = names.first, ClaimRule.isTenant(name) else {
            throw JWTRefusal(.mapping, "no claim of the token gives a tenant")
        }
        return name
    }
}

extension Role {
    /// What an issuer's tokens may be, the strongest first.
    static func offered(isPlatform: Bool, hasTenant: Bool) -> [Role] {
        allCases.filter { $0.isPlatform ? isPlatform : hasTenant }
    }
}

extension PatternRule {
    /// A claim that is not there allows nothing: a narrower token must not become a wider one.
    func patterns(in claims: [String: JSONValue]) throws(JWTRefusal) -> [NamePattern] {
        switch self {
        case .fixed(let patterns): return patterns
        case .claim(let rule):
            let words = try rule.values(in: claims)
            let patterns = words.prefix(64).compactMap(NamePattern.init)
            guard patterns.count == words.count else {
                throw JWTRefusal(
                    .mapping, "a claim that lists functions or models is not of at most 64 names or beginnings of names"
                )
            }
            return patterns
        }
    }
}

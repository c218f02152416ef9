// What a good token is worth here: its claims become tenant, role and patterns by the issuer's policy.
internal import Core

extension IssuerPolicy {
    func principal(
        _ verified: VerifiedClaims, claims: [String: JSONValue], roles: RoleNames
    ) throws(JWTRefusal) -> TokenPrincipal {
        let role = try strongest(of: try role.values(in: claims), roles)
        return TokenPrincipal(
            issuer: issuer, subject: verified.subject,
            tenant: roles.platform.contains(role) ? nil : try tenantName(claims), role: role,
            functions: try functions.map { (rule) throws(JWTRefusal) in try rule.patterns(in: claims) },
            models: try models.map { (rule) throws(JWTRefusal) in try rule.patterns(in: claims) },
            expires: verified.expires)
    }

    /// Words that are no role, and platform roles of an issuer that must not give them, count for nothing.
    private func strongest(of words: [String], _ roles: RoleNames) throws(JWTRefusal) -> String {
        let offered = (isPlatform ? roles.platform : []) + (tenant == nil ? [] : roles.tenant)
        guard let role = offered.first(where: words.contains) else {
            throw JWTRefusal(.mapping, "no claim of the token gives a role here")
        }
        return role
    }

    private func tenantName(_ claims: [String: JSONValue]) throws(JWTRefusal) -> String {
        let names = Set(try tenant?.values(in: claims) ?? [])
        guard let name = names.first, names.count == 1, Names.isValid(name) else {
            throw JWTRefusal(
                .mapping, names.count > 1 ? "the token speaks for several tenants" : "no claim of the token gives a tenant")
        }
        return name
    }
}

extension PatternRule {
    /// What names may be of: letters and digits of names, `*`, and what stands between them.
    static func isPattern(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-_.*@/".utf8.contains(byte)
            }
    }

    /// A claim that is not there allows nothing: a narrower token must not become a wider one.
    func patterns(in claims: [String: JSONValue]) throws(JWTRefusal) -> [String] {
        switch self {
        case .fixed(let patterns): return patterns
        case .claim(let rule):
            let patterns = try rule.values(in: claims)
            guard patterns.count <= 64, patterns.allSatisfy(Self.isPattern) else {
                throw JWTRefusal(.mapping, "a claim that lists functions or models is not of at most 64 patterns of names")
            }
            return patterns
        }
    }
}

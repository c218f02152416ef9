// The parts of `serve --jwt` that say how claims are mapped.
internal import Core

extension ClaimRule {
    /// `{ claim, map? }` or `{ fixed }`.
    init?(tenant reader: ManifestReader) throws(RuntimeError) {
        guard let value = reader.members["tenant"] else { return nil }
        let own = try reader.inner(value, "tenant", known: ["claim", "map", "fixed"])
        path = try Self.path(own) ?? []
        map = try Self.map(own, "the name of a tenant: \(Names.rule)", where: Self.isTenant)
        fallback = try own.string("fixed", "the name of a tenant: \(Names.rule)", where: Self.isTenant)
        guard path.isEmpty == (fallback != nil), fallback == nil || map == nil else {
            throw own.conflict("claim (with map, where values are not names of tenants) or fixed, one of the two")
        }
    }

    /// `{ claim, map?, default? }` or `{ default }`.
    init(role reader: ManifestReader, isPlatform: Bool, hasTenant: Bool) throws(RuntimeError) {
        let offered = Role.offered(isPlatform: isPlatform, hasTenant: hasTenant).map(\.rawValue)
        guard !offered.isEmpty else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step, cause: "'\(reader.prefix)tenant' is missing",
                next: "say which tenant its tokens speak for; only an issuer with platform: true needs none")
        }
        let expected = "one of \(offered.joined(separator: ", "))"
        guard let value = reader.members["role"] else { throw reader.failure("role", expected: expected, found: nil) }
        let own = try reader.inner(value, "role", known: ["claim", "map", "default"])
        path = try Self.path(own) ?? []
        map = try Self.map(own, expected, where: offered.contains)
        fallback = try own.string("default", expected, where: offered.contains)
        guard !path.isEmpty || fallback != nil && map == nil else {
            throw own.conflict("claim, default, or both; map belongs to claim")
        }
    }

    /// `{ claim }`, of functions and models.
    init(list own: ManifestReader) throws(RuntimeError) {
        guard let path = try Self.path(own) else {
            throw own.failure("claim", expected: "the name of a claim, or a list of names that lead to it", found: nil)
        }
        self.path = path
        map = nil
        fallback = nil
    }

    /// The platform's own name is no tenant's.
    static func isTenant(_ name: String) -> Bool { Names.isValid(name) && name != Deployment.platform }

    private static func path(_ reader: ManifestReader) throws(RuntimeError) -> [String]? {
        let isName = { (text: String) in (1...256).contains(text.utf8.count) && text.isPrintable }
        if case .string(let name) = reader.members["claim"], isName(name) { return [name] }
        guard let value = reader.members["claim"] else { return nil }
        guard case .array(let items) = value, (1...8).contains(items.count) else {
            throw reader.failure(
                "claim", expected: "the name of a claim, or a list of 1 to 8 that lead to it", found: value)
        }
        var path: [String] = []
        for item in items {
            guard case .string(let name) = item, isName(name) else {
                throw reader.failure("claim", expected: "of names of at most 256 bytes", found: item)
            }
            path.append(name)
        }
        return path
    }

    private static func map(
        _ reader: ManifestReader, _ expected: String, where isValid: (String) -> Bool
    ) throws(RuntimeError) -> [String: String]? {
        guard let value = reader.members["map"] else { return nil }
        guard case .object(let members) = value, (1...1024).contains(members.count) else {
            throw reader.failure("map", expected: "an object of 1 to 1024 members", found: value)
        }
        var map: [String: String] = [:]
        for (key, value) in members.sorted(by: { $0.key < $1.key }) {
            guard case .string(let meaning) = value, isValid(meaning) else {
                throw reader.failure("map.\(Names.quoted(key))", expected: expected, found: value)
            }
            map[key] = meaning
        }
        return map
    }
}

extension PatternRule {
    init?(_ key: String, _ reader: ManifestReader) throws(RuntimeError) {
        switch reader.members[key] {
        case nil: return nil
        case .object(let members):
            self = .claim(try ClaimRule(list: try reader.inner(.object(members), key, known: ["claim"])))
        case .some:
            let words = try reader.strings(key, atMost: 64, "a name, or the beginning of names and '*'") {
                NamePattern($0) != nil
            }
            self = .fixed((words ?? []).compactMap(NamePattern.init))
        }
    }
}

extension ManifestReader {
    fileprivate func inner(_ value: JSONValue, _ key: String, known: [String]) throws(RuntimeError) -> ManifestReader {
        try ManifestReader(value, prefix: "\(prefix)\(key).", known: known, step: step, docs: JWTConfig.docs)
    }

    fileprivate func conflict(_ expected: String) -> RuntimeError {
        RuntimeError(
            .manifestInvalid, step: step, cause: "'\(prefix.dropLast())' must have \(expected)",
            next: "see \(JWTConfig.docs)")
    }
}

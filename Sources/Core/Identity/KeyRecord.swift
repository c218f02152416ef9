// What the registry keeps of an API key: its hash, whose it is, what it may do and until when.

package struct KeyRecord: Equatable, Sendable {
    /// The first 16 hex digits of the hash: what people and logs call it.
    package var id: String { String(hash.hex.prefix(16)) }
    package let hash: KeyHash
    /// Nil: the platform's.
    package let tenant: String?
    package let role: Role
    /// Nil: all that the role may.
    package let scopes: [Scope]?
    package let functions: [NamePattern]?
    package let models: [NamePattern]?
    /// What bounds its requests, beside what bounds its tenant's.
    package var limits: LimitSet?
    /// What it may take of the models, beside what its tenant may.
    package var quotas: ModelQuotas?
    /// The key whose account of quotas this one goes on with, since it took its place.
    package let predecessor: String?
    /// What its owner wrote about it.
    package let comment: String
    /// Milliseconds since 1970.
    package let createdAt: Int64
    /// It fails from this moment on; nil: never.
    package var expiresAt: Int64?

    package init(
        hash: KeyHash, tenant: String?, role: Role, scopes: [Scope]? = nil, functions: [NamePattern]? = nil,
        models: [NamePattern]? = nil, limits: LimitSet? = nil, quotas: ModelQuotas? = nil, comment: String = "",
        createdAt: Int64, expiresAt: Int64? = nil, predecessor: String? = nil
    ) {
        self.limits = limits
        self.quotas = quotas
        self.predecessor = predecessor
        self.hash = hash
        self.tenant = tenant
        self.role = role
        self.scopes = scopes
        self.functions = functions
        self.models = models
        self.comment = comment
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }

    /// Where what it takes of the models is counted. Rotation opens no new account, since it would be a way to more.
    package var account: String { predecessor ?? id }

    package var permissions: Permissions {
        guard let scopes else { return role.permissions }
        return role.permissions.intersection(scopes.reduce(into: []) { $0.formUnion($1.permissions) })
    }

    /// - Parameter now: milliseconds since 1970.
    package func isExpired(_ now: Int64) -> Bool { expiresAt.map { $0 <= now } ?? false }
}

extension KeyRecord {
    /// The most that a comment may have, in UTF-8 bytes.
    static let longestComment = 200

    /// What may be asked of a key.
    package static let members = ["role", "scopes", "functions", "models", "limits", "comment", "expires_in_s"]

    /// A key that somebody asks for, from JSON: `role`, and if wanted the others of `members`.
    ///
    /// - Parameters:
    ///   - tenant: nil for the platform's keys, which have the platform's roles.
    ///   - now: milliseconds since 1970.
    ///   - predecessor: of one that took another's place.
    package init(
        _ value: JSONValue, hash: KeyHash, tenant: String?, now: Int64, step: String, predecessor: String? = nil
    ) throws(RuntimeError) {
        let reader = try ManifestReader(
            value, known: Self.members, step: step,
            docs: "docs/identity.md")
        guard let role = try reader.choice("role", Role.self), role.isPlatform == (tenant == nil) else {
            let fitting = Role.allCases.filter { $0.isPlatform == (tenant == nil) }.map { "\"\($0.rawValue)\"" }
            throw reader.failure("role", expected: fitting.joined(separator: " or "), found: reader.members["role"])
        }
        let comment = try reader.string("comment", "at most \(Self.longestComment) bytes of text") {
            $0.utf8.count <= Self.longestComment
                && $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
        }
        self.init(
            hash: hash, tenant: tenant, role: role, scopes: try Self.scopes(reader),
            functions: try Self.patterns("functions", reader), models: try Self.patterns("models", reader),
            comment: comment ?? "", createdAt: now,
            expiresAt: try reader.integer("expires_in_s", in: 1...3_153_600_000).map { now + $0 * 1000 },
            predecessor: predecessor)
        if let limits = reader.members["limits"] { try bound(limits, step: step) }
    }

    /// Reads its limits, in place of those that it had.
    package mutating func bound(_ value: JSONValue, step: String) throws(RuntimeError) {
        let both = try LevelLimits(value, at: .key, name: "limits", step: step)
        limits = both.requests.isEmpty ? nil : both.requests
        quotas = both.models.isEmpty ? nil : both.models
    }

    private static func scopes(_ reader: ManifestReader) throws(RuntimeError) -> [Scope]? {
        let words = try reader.strings("scopes", atMost: Scope.allCases.count, ManifestReader.words(Scope.self)) {
            Scope(rawValue: $0) != nil
        }
        return words?.compactMap(Scope.init)
    }

    private static func patterns(_ key: String, _ reader: ManifestReader) throws(RuntimeError) -> [NamePattern]? {
        let words = try reader.strings(key, atMost: 64, "a name, or the beginning of names and '*'") {
            NamePattern($0) != nil
        }
        return words?.compactMap(NamePattern.init)
    }

    /// Everything but what is asked anew, for one that takes its place.
    package func replaced(byHash hash: KeyHash, now: Int64) -> KeyRecord {
        let life = expiresAt.map { $0 - createdAt }
        return KeyRecord(
            hash: hash, tenant: tenant, role: role, scopes: scopes, functions: functions, models: models,
            limits: limits, quotas: quotas, comment: comment, createdAt: now, expiresAt: life.map { now + $0 },
            predecessor: account)
    }

    /// What it may do, in one JSON object; the registry stores it, and answers show it.
    package var grant: JSONValue {
        var members: [String: JSONValue] = ["role": .string(role.rawValue)]
        if let scopes { members["scopes"] = .array(scopes.map { .string($0.rawValue) }) }
        if let functions { members["functions"] = .array(functions.map { .string("\($0)") }) }
        if let models { members["models"] = .array(models.map { .string("\($0)") }) }
        if let bounds = LevelLimits.value(limits, quotas) { members["limits"] = bounds }
        if !comment.isEmpty { members["comment"] = .string(comment) }
        return .object(members)
    }
}

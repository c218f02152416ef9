// Who sends a request, once that is known: its tenant, and what it may do there. Everything that decides about access asks here.

/// A name, or the beginning of names: `chat`, `chat-*`, `*`.
package struct NamePattern: Hashable, Sendable, CustomStringConvertible {
    private let prefix: String
    private let isPrefix: Bool

    /// Nil when it is no pattern: names as `Names` has them, with at most one `*`, at the end.
    package init?(_ text: String) {
        isPrefix = text.hasSuffix("*")
        prefix = isPrefix ? String(text.dropLast()) : text
        guard prefix.isEmpty ? isPrefix : Names.isValid(prefix) else { return nil }
    }

    package func matches(_ name: String) -> Bool { isPrefix ? name.hasPrefix(prefix) : name == prefix }

    /// True when every name that `other` matches is one of these.
    package func covers(_ other: NamePattern) -> Bool {
        isPrefix ? other.prefix.hasPrefix(prefix) : !other.isPrefix && other.prefix == prefix
    }

    package var description: String { isPrefix ? prefix + "*" : prefix }
}

package final class Principal: Sendable {
    /// `key:ID`, `jwt:SUBJECT`, `cert:FINGERPRINT`, `local` or `anonymous`; what logs, the audit and the ledger say.
    package let id: String
    /// Nil: the platform's, which is at home in every tenant.
    package let tenant: String?
    /// Nil: nobody in particular.
    package let role: Role?
    package let permissions: Permissions
    /// The functions that it may call, deploy or see; nil: all of its tenant's.
    package let functions: [NamePattern]?
    /// The models that it may call; nil: all that its tenant may.
    package let models: [NamePattern]?
    /// Of its API key; nil: it has none, or the key is not bounded.
    package let limits: LimitSet?
    /// That there are `limits`, which are many words.
    package let isLimited: Bool
    /// The same for the models; held by their keeper of quotas, by `id`.
    package let quotas: ModelQuotas?

    package init(
        id: String, tenant: String?, role: Role?, permissions: Permissions, functions: [NamePattern]? = nil,
        models: [NamePattern]? = nil, limits: LimitSet? = nil, quotas: ModelQuotas? = nil
    ) {
        self.limits = limits
        isLimited = limits != nil
        self.quotas = quotas
        self.id = id
        self.tenant = tenant
        self.role = role
        self.permissions = permissions
        self.functions = functions
        self.models = models
    }

    /// With everything that the role may do.
    package convenience init(
        id: String, tenant: String?, role: Role, functions: [NamePattern]? = nil, models: [NamePattern]? = nil
    ) {
        self.init(
            id: id, tenant: tenant, role: role, permissions: role.permissions, functions: functions, models: models)
    }

    /// Who calls without saying who, from elsewhere.
    package static let anonymous = Principal(id: "anonymous", tenant: nil, role: nil, permissions: [])

    /// Who calls without saying who, from this machine: the operator's shell.
    package static let local = Principal(id: "local", tenant: nil, role: .platformAdmin)

    package var isAnonymous: Bool { role == nil }

    /// True when an API key made it.
    package var isKey: Bool { id.hasPrefix("key:") }

    /// True when the request showed something by which it was known.
    package var hasCredential: Bool { !isAnonymous && self !== Principal.local }

    /// - Parameter tenant: whose things are touched; nil: the host's, or the caller's own.
    package func may(_ permission: Permission, in tenant: String?) -> Bool {
        permissions.contains(permission) && (tenant == nil || self.tenant == nil || self.tenant == tenant)
    }

    package func mayTouch(function: String) -> Bool { functions?.contains { $0.matches(function) } ?? true }

    package func mayCall(model: String) -> Bool { models?.contains { $0.matches(model) } ?? true }
}

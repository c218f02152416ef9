// A tenant: the owner of functions, keys, data and usage, and what it may take.

package struct Tenant: Equatable, Sendable {
    package enum State: String, Sendable {
        case active
        /// Nothing of it is served; everything is kept.
        case suspended
        /// Its data is being erased; this goes on after a restart.
        case deleting
        /// It comes from another host and is not whole yet; a restart erases it.
        case importing
    }

    package let name: String
    package var state: State
    /// Milliseconds since 1970.
    package let createdAt: Int64
    package var settings: TenantSettings

    package init(name: String, state: State = .active, createdAt: Int64, settings: TenantSettings = .init()) {
        self.name = name
        self.state = state
        self.createdAt = createdAt
        self.settings = settings
    }

    /// Where handlers go when nobody says where.
    package static let defaultName = "default"
    /// Whose calls of models are counted when the platform itself calls and names no tenant.
    package static let publicName = "public"

    /// Checks a name that a tenant is to get.
    package static func validate(_ name: String) throws(RuntimeError) {
        try Names.validate(name, as: "tenant")
        guard name != Deployment.platform else {
            throw RuntimeError(
                .badRequest, step: "name of the tenant", cause: "'\(name)' is the platform's own",
                next: "choose another name")
        }
    }
}

/// What can be changed of a tenant while it is served.
package struct TenantSettings: Equatable, Sendable {
    /// The models that it may call; nil: all.
    package var models: [NamePattern]?
    /// Its weight and quotas of the models; nil: what `serve --tenants` says of it.
    package var policy: TenantPolicy?
    /// What bounds its requests, its functions and its storage.
    package var limits: LimitSet?

    package init() {}

    static let keys = ["models", "policy", "limits"]

    /// - Parameter step: opens every error.
    package init(_ value: JSONValue, name: String, step: String) throws(RuntimeError) {
        let reader = try ManifestReader(
            value, prefix: name + ".", known: Self.keys, step: step, docs: "docs/tenants.md")
        if reader.members["models"] != nil {
            let texts = try reader.strings(
                "models", atMost: 64, "a name, or the beginning of names and '*'", where: { NamePattern($0) != nil })
            models = texts?.compactMap(NamePattern.init)
        }
        if let policy = reader.members["policy"] {
            self.policy = try TenantPolicy(policy, name: name + ".policy", step: step)
        }
        if let limits = reader.members["limits"] {
            self.limits = try LimitSet(limits, at: .tenant, name: name + ".limits", step: step)
        }
    }

    /// What `init` reads back to an equal value.
    package var value: JSONValue {
        var members: [String: JSONValue] = [:]
        if let models { members["models"] = .array(models.map { .string("\($0)") }) }
        if let policy { members["policy"] = policy.value }
        if let limits { members["limits"] = limits.value }
        return .object(members)
    }
}

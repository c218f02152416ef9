// What a tenant may take of the models, and its share of one that others want too; read from `serve --tenants FILE`.

package struct TenantPolicy: Equatable, Sendable {
    /// Its share of a model beside tenants of weight 1.
    package var weight = 1.0
    package var quotas = ModelQuotas()

    package init() {}
}

/// The policies of all tenants, by name; `*` is everybody else's.
package struct TenantPolicies: Equatable, Sendable {
    private var named: [String: TenantPolicy] = [:]
    private var others = TenantPolicy()

    package init() {}

    /// Those that have a policy of their own.
    package var names: Set<String> { Set(named.keys) }

    package func policy(of tenant: String) -> TenantPolicy { named[tenant] ?? others }

    /// The same, where tenants with a policy in the registry have that one.
    package func overridden(by policies: [String: TenantPolicy]) -> TenantPolicies {
        var result = self
        result.named.merge(policies) { _, newer in newer }
        return result
    }

    /// - Parameter file: its name, for errors.
    package init(json5: [UInt8], file: String) throws(RuntimeError) {
        let step = "tenants file \(file)"
        guard case .object(let tenants) = try JSON5.decode(json5, step: step) else {
            throw RuntimeError(
                .badRequest, step: step, cause: "it is not an object",
                next: "write { tenant: { … } }; see docs/quotas.md")
        }
        for (name, value) in tenants {
            if name != "*" { try Names.validate(name, as: "tenant in \(file)") }
            let policy = try TenantPolicy(value, name: name, step: step)
            if name == "*" { others = policy } else { named[name] = policy }
        }
    }
}

extension TenantPolicy {
    /// What `init` reads back to an equal value.
    var value: JSONValue {
        .object(quotas.values.merging(["weight": .number(weight)]) { own, _ in own })
    }

    init(_ value: JSONValue, name: String, step: String) throws(RuntimeError) {
        let reader = try ManifestReader(
            value, prefix: name + ".", known: ["weight"] + ModelQuotas.members, step: step, docs: "docs/quotas.md")
        weight = try reader.number("weight", in: 0.01...1000, "a number from 0.01 to 1000") ?? 1
        quotas = try ModelQuotas(reader)
    }
}

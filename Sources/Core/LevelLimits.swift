// What one object of limits says where it bounds the models, too: a key's, or the operator's for keys and for the platform.

/// Two halves that are counted in two places: requests by the gateway, tokens by the models' keeper of quotas.
package struct LevelLimits: Equatable, Sendable {
    package var requests = LimitSet()
    package var models = ModelQuotas()

    package init() {}

    /// - Parameters:
    ///   - name: of the object, for errors.
    ///   - step: opens every error.
    package init(_ value: JSONValue, at level: LimitLevel, name: String, step: String) throws(RuntimeError) {
        requests = try LimitSet(value, at: level, name: name, step: step, beside: ModelQuotas.members)
        models = try ModelQuotas(
            ManifestReader(
                value, prefix: name + ".", known: LimitSet.members(at: level) + ModelQuotas.members, step: step,
                docs: "docs/quotas.md"))
    }

    /// The one object of both; nil: there are none.
    package static func value(_ requests: LimitSet?, _ models: ModelQuotas?) -> JSONValue? {
        guard requests != nil || models != nil else { return nil }
        guard case .object(let members)? = requests?.value else { return .object(models?.values ?? [:]) }
        return .object(members.merging(models?.values ?? [:]) { own, _ in own })
    }
}

// The paths that one loop has met, so that a request finds its own with one look. Loop-confined.
internal import Core
internal import Limits
internal import Platform
internal import Registry

struct LimitPaths {
    private struct Key: Hashable {
        /// Only of those with a key: the others are bounded alike.
        let principal: ObjectIdentifier?
        /// Of the deployment, which the snapshot holds. A word is hashed faster than a name.
        let function: ObjectIdentifier?
        /// Where no function is called.
        let tenant: String?

        /// One word, since this runs for each request: who may have one function's limits differs from it in the principal.
        func hash(into hasher: inout Hasher) {
            let words = (principal.map { UInt(bitPattern: $0) } ?? 0, function.map { UInt(bitPattern: $0) } ?? 0)
            hasher.combine(words.0 ^ words.1 &* 31)
            if let tenant { hasher.combine(tenant) }
        }
    }

    /// Names can be made up by platform callers.
    private static let most = 4096

    private let control: LimitControl
    private var generation: UInt64
    private var snapshot: RegistrySnapshot
    private var known: [Key: LimitPath?] = [:]
    /// What holds the keys' principals, since their identity is in `known`.
    private var principals: [ObjectIdentifier: Principal] = [:]
    private var platform: PlatformLimits
    private var areAnySet: Bool

    init(_ control: LimitControl, _ snapshot: RegistrySnapshot) {
        self.control = control
        self.snapshot = snapshot
        generation = control.generation
        platform = control.platform
        areAnySet = Self.areAnySet(platform, snapshot)
    }

    /// Nil when nothing bounds such a request.
    mutating func path(
        _ current: RegistrySnapshot, _ principal: Principal, tenant: String, function: Deployment?
    ) -> LimitPath? {
        if current !== snapshot || control.generation != generation { renew(current) }
        guard areAnySet else { return nil }
        let hasKey = principal.isLimited || (principal.isKey && !platform.key.isEmpty)
        let key = Key(
            principal: hasKey ? ObjectIdentifier(principal) : nil, function: function.map(ObjectIdentifier.init),
            tenant: function == nil ? tenant : nil)
        if let path = known[key] { return path }
        if known.count >= Self.most { forget() }
        let path = make(principal, hasKey: hasKey, tenant: tenant, function)
        known[key] = .some(path)
        if hasKey { principals[ObjectIdentifier(principal)] = principal }
        return path
    }

    private func make(_ principal: Principal, hasKey: Bool, tenant: String, _ function: Deployment?) -> LimitPath? {
        let own = function?.manifest.limits.rate.map { rate in
            var limits = LimitSet()
            limits.rate = rate
            return limits
        }
        let tree = LimitTree(
            platform, tenant: snapshot.tenants[tenant]?.settings.limits, key: hasKey ? .some(principal.limits) : nil,
            function: own)
        guard !tree.levels.isEmpty else { return nil }
        let now = LimitClock(monotonic: .now).now(withDate: true)
        return LimitPath(tree) { level in
            let subject: LimitSubject =
                switch level {
                case .platform: .platform
                case .tenant: .tenant(tenant)
                case .key: .key(principal.id)
                case .function: .function(FunctionKey(tenant: tenant, name: function?.name ?? ""))
                }
            return control.table.cell(of: subject, now: now)
        }
    }

    private mutating func renew(_ current: RegistrySnapshot) {
        snapshot = current
        // The number first: a change that comes between the two is seen again.
        generation = control.generation
        platform = control.platform
        areAnySet = Self.areAnySet(platform, current)
        forget()
    }

    private mutating func forget() {
        known = [:]
        principals = [:]
    }

    private static func areAnySet(_ platform: PlatformLimits, _ snapshot: RegistrySnapshot) -> Bool {
        !platform.isEmpty || snapshot.tenants.values.contains { $0.settings.limits != nil }
            || snapshot.keys.values.contains { $0.record.limits != nil }
            || snapshot.functions.values.contains { $0.manifest.limits.rate != nil }
    }
}

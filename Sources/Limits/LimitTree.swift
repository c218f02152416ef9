// The levels of limits that hold for one request, from what the operator's file, the tenant, the key and the function say.
package import Core

/// What the operator says in `serve --limits FILE`.
package struct PlatformLimits: Sendable {
    /// For all requests together.
    package var platform = LimitSet()
    /// For each tenant, beside what its own settings say.
    package var tenant = LimitSet()
    /// For each API key, beside its own.
    package var key = LimitSet()
    /// What all may take of the models together, and what each API key may, beside its own quotas.
    package var models = (platform: ModelQuotas(), key: ModelQuotas())

    package init() {}

    /// True when no request is bounded; the models may be.
    package var isEmpty: Bool { platform.isEmpty && tenant.isEmpty && key.isEmpty }

    /// - Parameter file: its name, for errors.
    package init(json5: [UInt8], file: String) throws(RuntimeError) {
        let step = "limits file \(file)"
        let reader = try ManifestReader(
            try JSON5.decode(json5, step: step), known: ["platform", "tenant", "key"], step: step,
            docs: "docs/limits.md")
        func read(_ level: LimitLevel) throws(RuntimeError) -> LevelLimits {
            guard let value = reader.members[level.rawValue] else { return LevelLimits() }
            return try LevelLimits(value, at: level, name: level.rawValue, step: step)
        }
        let (platform, key) = (try read(.platform), try read(.key))
        self.platform = platform.requests
        self.key = key.requests
        models = (platform.models, key.models)
        if let value = reader.members["tenant"] {
            tenant = try LimitSet(value, at: .tenant, name: "tenant", step: step)
        }
    }
}

/// The limits of one request, level by level. Each level counts for itself and each must let the request in, so that the
/// tightest decides.
package struct LimitTree: Equatable, Sendable {
    /// The narrow ones first: who is refused by its own level takes nothing of what is shared with others.
    package let levels: [(level: LimitLevel, limits: LimitSet)]

    /// - Parameters:
    ///   - key: nil when the caller has no key; then the file's limits for keys are not its either.
    package init(_ operator_: PlatformLimits, tenant: LimitSet?, key: LimitSet??, function: LimitSet?) {
        var levels: [(LimitLevel, LimitSet)] = []
        func add(_ level: LimitLevel, _ limits: LimitSet) { if !limits.isEmpty { levels.append((level, limits)) } }
        if let key { add(.key, operator_.key.tightened(by: key)) }
        if let function { add(.function, function) }
        add(.tenant, operator_.tenant.tightened(by: tenant))
        add(.platform, operator_.platform)
        self.levels = levels
    }

    /// The tightest of a limit that counts nothing, and whose it is.
    package func tightest(_ limit: KeyPath<LimitSet, UInt64?>) -> (level: LimitLevel, most: UInt64)? {
        levels.compactMap { row in row.limits[keyPath: limit].map { (row.level, $0) } }.min { $0.1 < $1.1 }
    }

    package static func == (a: LimitTree, b: LimitTree) -> Bool {
        a.levels.elementsEqual(b.levels) { $0.level == $1.level && $0.limits == $1.limits }
    }
}

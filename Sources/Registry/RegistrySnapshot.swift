// Everything that exists, at one moment: an immutable value that any thread reads without waiting.
package import Core

package final class RegistrySnapshot: Sendable {
    package let functions: [FunctionKey: Deployment]
    /// The latest version of each model.
    package let models: [String: Deployment]
    /// Other versions that are kept, by model and alias.
    package let aliases: [String: [String: Deployment]]
    package let tenants: [String: Tenant]
    /// API keys by their hash, with the principals that they make.
    package let keys: [KeyHash: IssuedKey]
    private let notServed: Set<String>

    struct Contents {
        var functions: [FunctionKey: Deployment] = [:]
        var models: [String: Deployment] = [:]
        var aliases: [String: [String: Deployment]] = [:]
        var tenants: [String: Tenant] = [:]
        var keys: [KeyHash: IssuedKey] = [:]
    }

    init(_ contents: Contents = Contents()) {
        functions = contents.functions
        models = contents.models
        aliases = contents.aliases
        tenants = contents.tenants
        keys = contents.keys
        notServed = Set(contents.tenants.values.lazy.filter { $0.state != .active }.map(\.name))
    }

    /// The same with something changed.
    func with(_ change: (inout Contents) -> Void) -> RegistrySnapshot {
        var contents = Contents(functions: functions, models: models, aliases: aliases, tenants: tenants, keys: keys)
        change(&contents)
        return RegistrySnapshot(contents)
    }

    /// The same with one deployment more, or in place of another.
    func adding(_ deployment: Deployment) -> RegistrySnapshot {
        with { next in
            guard deployment.kind == .backend else { return next.functions[deployment.key] = deployment }
            let name = deployment.name
            if let last = models[name], last.digest != deployment.digest {
                next.aliases[name, default: [:]][ModelReference.previous] = last
            }
            next.models[name] = deployment
            // The same content again: what is known of its files is newer now.
            for (alias, other) in next.aliases[name] ?? [:] where other.digest == deployment.digest {
                next.aliases[name]?[alias] = deployment
            }
        }
    }

    func removing(_ deployment: Deployment) -> RegistrySnapshot {
        with { next in
            guard deployment.kind == .backend else { return next.functions[deployment.key] = nil }
            next.models[deployment.name] = nil
            next.aliases[deployment.name] = nil
        }
    }

    /// - Parameter deployment: nil takes the alias away.
    func aliasing(_ model: String, _ alias: String, _ deployment: Deployment?) -> RegistrySnapshot {
        with { $0.aliases[model, default: [:]][alias] = deployment }
    }

    func restamping(_ old: Deployment, files: [ArtefactFile]) -> RegistrySnapshot {
        func restamped(_ one: Deployment) -> Deployment {
            guard one.kind == old.kind, one.key == old.key, one.digest == old.digest else { return one }
            return one.with(files)
        }
        return with { next in
            next.functions = functions.mapValues(restamped)
            next.models = models.mapValues(restamped)
            next.aliases = aliases.mapValues { $0.mapValues(restamped) }
        }
    }

    /// Every version of every model that something names, newest first, with its aliases.
    package var modelVersions: [(deployment: Deployment, aliases: [String])] {
        models.values.flatMap { latest in
            var named = [latest.digest: (deployment: latest, aliases: [ModelReference.latest])]
            for (alias, deployment) in (aliases[latest.name] ?? [:]).sorted(by: { $0.key < $1.key }) {
                named[deployment.digest, default: (deployment, [])].aliases.append(alias)
            }
            return named.values.sorted {
                ($0.deployment.createdAt, $0.deployment.digest) > ($1.deployment.createdAt, $1.deployment.digest)
            }
        }
    }

    /// The digests that something refers to, by tenant.
    package var digests: [String: Set<String>] {
        var digests: [String: Set<String>] = [:]
        for deployment in functions.values { digests[deployment.tenant, default: []].insert(deployment.digest) }
        for (deployment, _) in modelVersions { digests[deployment.tenant, default: []].insert(deployment.digest) }
        return digests
    }

    /// A tenant is served unless somebody suspended it; one that was never made has nothing to serve but calls of models.
    package func isServed(_ tenant: String) -> Bool { notServed.isEmpty || !notServed.contains(tenant) }

    /// The keys of a tenant, or of the platform, oldest first.
    package func keys(of tenant: String?) -> [KeyRecord] {
        keys.values.map(\.record).filter { $0.tenant == tenant }.sorted {
            ($0.createdAt, $0.id) < ($1.createdAt, $1.id)
        }
    }
}

/// A key that was given out, and who its bearer is. A class, because each request comes by and both are many words.
package final class IssuedKey: Sendable {
    package let record: KeyRecord
    package let principal: Principal

    init(_ record: KeyRecord) {
        self.record = record
        principal = Principal(
            id: "key:\(record.id)", tenant: record.tenant, role: record.role, permissions: record.permissions,
            functions: record.functions, models: record.models, limits: record.limits, quotas: record.quotas)
    }
}

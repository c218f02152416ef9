// Everything that is deployed, at one moment: an immutable value that any thread reads without waiting.
package import Core

package final class RegistrySnapshot: Sendable {
    package let functions: [FunctionKey: Deployment]
    /// The latest version of each model.
    package let models: [String: Deployment]
    /// Other versions that are kept, by model and alias.
    package let aliases: [String: [String: Deployment]]

    init(
        functions: [FunctionKey: Deployment] = [:], models: [String: Deployment] = [:],
        aliases: [String: [String: Deployment]] = [:]
    ) {
        self.functions = functions
        self.models = models
        self.aliases = aliases
    }

    /// The same with one deployment more, or in place of another.
    func adding(_ deployment: Deployment) -> RegistrySnapshot {
        var (functions, models, aliases) = (functions, models, aliases)
        if deployment.kind == .backend {
            if let last = models[deployment.name], last.digest != deployment.digest {
                aliases[deployment.name, default: [:]][ModelReference.previous] = last
            }
            models[deployment.name] = deployment
            // The same content again: what is known of its files is newer now.
            for (alias, other) in aliases[deployment.name] ?? [:] where other.digest == deployment.digest {
                aliases[deployment.name]?[alias] = deployment
            }
        } else {
            functions[deployment.key] = deployment
        }
        return RegistrySnapshot(functions: functions, models: models, aliases: aliases)
    }

    func removing(_ deployment: Deployment) -> RegistrySnapshot {
        var (functions, models, aliases) = (functions, models, aliases)
        if deployment.kind == .backend {
            models[deployment.name] = nil
            aliases[deployment.name] = nil
        } else {
            functions[deployment.key] = nil
        }
        return RegistrySnapshot(functions: functions, models: models, aliases: aliases)
    }

    /// - Parameter deployment: nil takes the alias away.
    func aliasing(_ model: String, _ alias: String, _ deployment: Deployment?) -> RegistrySnapshot {
        var aliases = aliases
        aliases[model, default: [:]][alias] = deployment
        return RegistrySnapshot(functions: functions, models: models, aliases: aliases)
    }

    func restamping(_ old: Deployment, files: [ArtefactFile]) -> RegistrySnapshot {
        func restamped(_ one: Deployment) -> Deployment {
            guard one.kind == old.kind, one.key == old.key, one.digest == old.digest else { return one }
            return one.with(files)
        }
        return RegistrySnapshot(
            functions: functions.mapValues(restamped), models: models.mapValues(restamped),
            aliases: aliases.mapValues { $0.mapValues(restamped) })
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
}

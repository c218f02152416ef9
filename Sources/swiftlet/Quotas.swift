// Everybody's quotas of the models, from the registry, `serve --tenants` and `serve --limits`, for the keeper of quotas.
internal import Core
internal import FoundationEssentials
internal import Gateway
internal import Inference
internal import Platform
internal import Registry
internal import Synchronization

/// Of tenants: the file's, where the registry has none of its own. Of keys: the tighter of theirs and the operator's for all.
final class Quotas: Sendable {
    private let file: String?
    private let registry: Registry
    private let fromFile: Mutex<TenantPolicies>
    private let limits: LimitControl
    private let stored: QuotaFile
    /// The latest word must come last: changes are made on several threads.
    private let applying = Mutex(())

    /// - Parameter options: of a host that holds the registry's lock.
    init(_ options: ServeOptions, _ registry: Registry, _ limits: LimitControl) throws {
        file = options.tenants
        self.registry = registry
        self.limits = limits
        fromFile = Mutex(try Self.read(file))
        stored = try QuotaFile(stateDirectory: options.state)
    }

    /// Belongs to the models' loop once that runs.
    func makeKeeper() throws -> QuotaKeeper {
        let policies = policies
        return QuotaKeeper(
            policies: policies, stored: try stored.load(accounts: Set(policies.issued.values)), store: stored)
    }

    private var policies: QuotaPolicies {
        let (snapshot, bounds) = (registry.snapshot, limits.modelQuotas)
        let own = snapshot.tenants.compactMapValues(\.settings.policy)
        var policies = QuotaPolicies(tenants: fromFile.withLock { $0.overridden(by: own) }, platform: bounds.platform)
        for key in snapshot.keys.values {
            let (principal, account) = (key.principal.id, key.record.account)
            policies.issued[principal] = account
            let quotas = bounds.key.tightened(by: key.record.quotas ?? ModelQuotas())
            if !quotas.isEmpty { policies.keys[principal] = QuotaPolicies.Key(account: account, quotas: quotas) }
        }
        return policies
    }

    /// What the registry and the file say now holds from now on.
    func apply(to inference: InferenceService) { applying.withLock { _ in inference.setPolicies(policies) } }

    /// SIGHUP: reads the file again, after `limits` was; one that can't be read changes nothing.
    func reload(_ inference: InferenceService) {
        guard let file else { return apply(to: inference) }
        do {
            let read = try Self.read(file)
            fromFile.withLock { $0 = read }
            apply(to: inference)
            Log.info("SIGHUP: the tenants file was read again")
        } catch {
            apply(to: inference)
            Log.error("SIGHUP: the tenants file's old quotas stay in force", [("cause", "\(error)")])
        }
    }

    private static func read(_ file: String?) throws -> TenantPolicies {
        guard let file else { return TenantPolicies() }
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw RuntimeError(
                .badRequest, step: "read the tenants file \(file)", cause: "the file can't be read",
                next: "give --tenants a file that the user of the host may read")
        }
        return try TenantPolicies(json5: Array(data), file: file)
    }
}

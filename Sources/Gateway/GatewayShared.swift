// What all loops share: the registry, the workers, the logs and the counters. Everything in it is Sendable.
package import Audit
package import Core
package import Inference
package import Ledger
package import PluginHost
package import Registry
package import Scheduler
package import Signing
internal import Synchronization
package import Vault
package import Workers

/// Counters of the whole host, for /metrics; those of calls are the ledger's.
package struct GatewayCounters: Sendable {
    package var requests: UInt64 = 0
}

package final class GatewayShared: Sendable {
    package let registry: Registry
    package let host: WorkerHost
    package let dispatcher: Dispatcher
    package let store: ArtefactStore
    package let trust: TrustStore
    package let inference: InferenceService
    /// Every call that is over goes there, and nothing else counts calls.
    package let usage: UsageLedger
    package let vault: Vault
    package let authenticator: Authenticator
    package let limits: LimitControl
    /// Every act and each denied access.
    package let audit: AuditLog
    /// What is erased with a tenant, in this order.
    let tenantData: [any TenantData]
    /// Makes the models' quotas and weights those that the registry and the tenants file say.
    package let refreshPolicies: @Sendable () -> Void
    package let log = FunctionLog()
    /// Does what blocks: files and probes.
    package let background: BackgroundQueue
    /// Opens sealed files, because nobody who waits for that must wait for a deployment.
    package let files: BackgroundQueue
    package let requestIDs = RequestIDs()
    /// Tenants that are being exported now.
    let exports = ExportSlots()
    private let counters = Mutex(GatewayCounters())
    private let draining = Atomic<Bool>(false)

    package init(
        registry: Registry, host: WorkerHost, dispatcher: Dispatcher, store: ArtefactStore, trust: TrustStore,
        inference: InferenceService, usage: UsageLedger,
        background: BackgroundQueue, files: BackgroundQueue, vault: Vault, authenticator: Authenticator,
        audit: AuditLog, limits: LimitControl, tenantData: [any TenantData],
        refreshPolicies: @escaping @Sendable () -> Void
    ) {
        self.limits = limits
        self.files = files
        self.vault = vault
        self.tenantData = tenantData
        self.refreshPolicies = refreshPolicies
        self.authenticator = authenticator
        self.audit = audit
        self.inference = inference
        self.usage = usage
        self.registry = registry
        self.host = host
        self.dispatcher = dispatcher
        self.store = store
        self.trust = trust
        self.background = background
        refreshModels()
    }

    /// Tells the inference service what the registry holds; call it after a backend was published or removed.
    package func refreshModels() {
        inference.setModels(
            registry.snapshot.modelVersions.map {
                ModelSpec($0.deployment, root: store.root(of: $0.deployment.tenant), aliases: $0.aliases)
            })
    }

    package var isDraining: Bool { draining.load(ordering: .relaxed) }
    package func beginDraining() { draining.store(true, ordering: .relaxed) }

    package func count(_ change: (inout GatewayCounters) -> Void) { counters.withLock { change(&$0) } }
    package var counted: GatewayCounters { counters.withLock { $0 } }

    /// What to start for one deployment of a function.
    package func spec(for deployment: Deployment) -> WorkerSpec {
        let manifest = deployment.manifest
        return WorkerSpec(
            purpose: manifest.reuse == .request ? .fresh : .handler, key: deployment.key,
            trust: "tenant:\(deployment.tenant)", root: store.root(of: deployment.tenant),
            directory: deployment.directoryName, sharesPool: manifest.reuse == .tenant,
            library: manifest.library ?? "plugin.so", config: manifest.config, limits: manifest.limits)
    }
}

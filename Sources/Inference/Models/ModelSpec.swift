// One model of the catalogue: what to start for it, and the rules for its use.
package import Core
package import Workers

/// A model that clients may name.
package struct ModelSpec: Sendable {
    package var name: String
    /// Seconds since 1970.
    package var created: Int64
    package var worker: WorkerSpec
    package var keepAliveMilliseconds: UInt64
    /// What the platform team calls this version of it.
    package var version = ""
    /// What this version is called after `@`.
    package var aliases = [ModelReference.latest]
    /// Its files as they were deployed.
    package var files: [ArtefactFile] = []
    /// Workers of this version at once; the first so many are loaded although nobody asks, while it is the latest.
    package var minReplicas = 0
    package var maxReplicas = 1
    /// How requests on tensors are joined; one row: not at all.
    package var batching = TensorBatching(maxRows: 1, maxDelayMicroseconds: 0)
    package var loadTimeoutMilliseconds: UInt64 = 120_000
    /// Requests that may wait for this model, and how many of them one tenant may have.
    package var maxWaiting = 256
    package var maxWaitingPerTenant = 128
    /// Tokens of an answer whose request sets no limit; its memory is kept free for it, so it is not the whole context.
    package var defaultMaxTokens = 1024
    /// Texts that every tenant may begin with at no cost: system prompts, where the model can chat.
    package var publishedPrefixes: [String] = []
    /// Bytes of a prompt that are read at all; nil: what its context could hold.
    package var maxPromptBytes: Int?

    package init(name: String, created: Int64, worker: WorkerSpec, keepAliveMilliseconds: UInt64) {
        self.name = name
        self.created = created
        self.worker = worker
        self.keepAliveMilliseconds = keepAliveMilliseconds
    }

    package var isLatest: Bool { aliases.contains(ModelReference.latest) }

    /// The one name of this version: that of the model and the digest of what was deployed.
    package var reference: String { "\(name)@\(worker.directory)" }

    /// What is reserved for each of its workers.
    package var memoryNeed: ModelBudget.Need {
        ModelBudget.Need(
            memory: worker.limits.memoryBytes, device: worker.device, deviceMemory: worker.limits.deviceMemoryBytes)
    }

    /// The model that a backend deployment serves.
    /// - Parameters:
    ///   - root: the directory that holds the platform's artefacts.
    ///   - aliases: what this version is called after `@`.
    package init(_ deployment: Deployment, root: String, aliases: [String] = [ModelReference.latest]) {
        let manifest = deployment.manifest
        let worker = WorkerSpec(
            purpose: .backend, key: deployment.key, trust: "platform:\(deployment.name)", root: root,
            directory: deployment.directoryName, library: manifest.libraryFile, model: manifest.model ?? "",
            config: manifest.config, limits: manifest.limits, device: manifest.device,
            contextTokens: manifest.contextTokens, maxSequences: manifest.maxSequences,
            maxStepTokens: manifest.maxStepTokens, makesCode: manifest.makesCode)
        self.init(
            name: deployment.name, created: deployment.createdAt / 1000, worker: worker,
            keepAliveMilliseconds: UInt64(max(0, manifest.keepAliveMilliseconds)))
        version = manifest.version
        self.aliases = aliases
        files = deployment.files
        minReplicas = Int(manifest.minReplicas)
        maxReplicas = Int(manifest.maxReplicas)
        loadTimeoutMilliseconds = UInt64(manifest.loadTimeoutMilliseconds)
        publishedPrefixes = manifest.publishedPrefixes
        maxPromptBytes = manifest.maxPromptBytes
        batching = TensorBatching(
            maxRows: Int(manifest.batchRows), maxDelayMicroseconds: UInt64(manifest.batchDelayMicroseconds))
    }

    var lifecyclePolicy: ModelLifecycle.Policy {
        var policy = ModelLifecycle.Policy()
        policy.keepAliveMilliseconds = keepAliveMilliseconds
        policy.loadTimeoutMilliseconds = loadTimeoutMilliseconds
        return policy
    }
}

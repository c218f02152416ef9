// swiftlet.json5 to Manifest; which keys exist and what they may hold is decided here (docs/manifest.md says it in prose).

extension Manifest {
    private static let keys = [
        "name", "kind", "version", "library", "language", "handler", "sources", "limits", "reuse", "idle_timeout_s",
        "models", "config", "model", "device", "context_tokens", "max_sequences", "max_step_tokens", "keep_alive_s",
        "jit", "batch", "load_timeout_s", "replicas", "published_prefixes", "max_prompt_bytes", "access", "secrets",
    ]
    private static let handlerKeys = ["handler", "models", "secrets", "reuse", "idle_timeout_s", "access"]
    private static let backendKeys = [
        "model", "device", "context_tokens", "max_sequences", "max_step_tokens", "keep_alive_s", "jit", "batch",
        "load_timeout_s", "replicas", "published_prefixes", "max_prompt_bytes",
    ]
    private static let batchKeys = ["max_size", "max_delay_us"]
    private static let replicaKeys = ["min", "max"]
    private static let mostReplicas: Int64 = 16
    private static let longestRest: Int64 = 604_800
    private static let largestConfig = 32 << 10

    /// - Parameter file: what the text was read from; it opens every error.
    package static func decode(json5 bytes: [UInt8], file: String) throws(RuntimeError) -> Manifest {
        let step = "manifest \(file)"
        let reader = try ManifestReader(JSON5.decode(bytes, step: step), known: keys, step: step)
        let name = try reader.requiredString("name", "a name of \(Names.rule)", where: Names.isValid)
        guard let kind = try reader.choice("kind", PluginKind.self) else {
            throw reader.failure("kind", expected: ManifestReader.words(PluginKind.self), found: nil)
        }
        let version = try reader.requiredString(
            "version", "a version such as \"1.0.0\" (\(Names.fileNameRule))", where: Names.isFileName)
        try refuseKeysOfTheOtherKind(reader, kind)

        var manifest = Manifest(name: name, kind: kind, version: version)
        try manifest.readBuild(reader)
        try manifest.readLimits(reader)
        switch kind {
        case .handler: try manifest.readHandler(reader)
        case .backend: try manifest.readBackend(reader)
        }
        try manifest.checkDeviceMemory(reader)
        try manifest.readConfig(reader)
        // What is accepted is stored as canonical text, and a host that can't read that again can't start.
        let stored = manifest.canonicalJSON.utf8.count
        guard stored <= JSON5.largest else {
            throw RuntimeError(
                .manifestInvalid, step: step,
                cause: "it has \(stored) bytes as canonical JSON, the limit is \(JSON5.largest)",
                next: "name fewer or shorter sources")
        }
        return manifest
    }

    private mutating func readConfig(_ reader: ManifestReader) throws(RuntimeError) {
        guard let value = reader.members["config"] else { return }
        guard case .object = value else { throw reader.failure("config", expected: "an object", found: value) }
        // It travels in one frame with the names of files, and canonical text may be longer than what was written.
        let text = value.text
        guard text.utf8.count <= Self.largestConfig else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause: "'config' has \(text.utf8.count) bytes as canonical JSON, the limit is \(Self.largestConfig)",
                next: "put the data into a file beside the manifest")
        }
        config = text
    }

    private static func refuseKeysOfTheOtherKind(_ reader: ManifestReader, _ kind: PluginKind) throws(RuntimeError) {
        let (foreign, owner) = kind == .handler ? (backendKeys, "backend") : (handlerKeys, "handler")
        for key in foreign where reader.members[key] != nil {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause: "'\(key)' belongs to a \(owner), and kind is \"\(kind.rawValue)\"",
                next: "remove '\(key)', or correct 'kind'")
        }
    }

    private mutating func readBuild(_ reader: ManifestReader) throws(RuntimeError) {
        library = try reader.string(
            "library", "a file name ending in .so (\(Names.fileNameRule))",
            where: { Names.isFileName($0) && $0.hasSuffix(".so") })
        language = try reader.string("language", "\"c\" or \"swift\"", where: { $0 == "c" || $0 == "swift" })
        sources =
            try reader.strings(
                "sources", atMost: 256, "a path below the manifest's folder, without '..'", where: Self.isSourcePath)
            ?? []
        guard library != nil || language != nil else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step, cause: "neither 'library' nor 'language' is given",
                next:
                    "name the shared object (library: \"plugin.so\") or how to build it (language: \"swift\" or \"c\")")
        }
        library = library ?? Self.builtLibrary
    }

    private mutating func readHandler(_ reader: ManifestReader) throws(RuntimeError) {
        handlerType = try reader.string("handler", "the name of a Swift type", where: Self.isTypeName)
        guard handlerType == nil || language == "swift" else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause: "'handler' names a Swift type, and language is not \"swift\"",
                next: "remove 'handler', or add language: \"swift\"")
        }
        models = try reader.strings("models", atMost: 64, "a name of \(Names.rule)", where: Names.isValid) ?? []
        secrets =
            try reader.strings(
                "secrets", atMost: 64, "a name of \(Names.secretNameRule)", where: Names.isSecretName) ?? []
        idleTimeoutMilliseconds =
            try reader.milliseconds("idle_timeout_s", upTo: Self.longestRest) ?? idleTimeoutMilliseconds
        reuse = try reader.choice("reuse", Reuse.self) ?? reuse
        access = try reader.choice("access", Access.self) ?? access
    }

    private mutating func readBackend(_ reader: ManifestReader) throws(RuntimeError) {
        model = try reader.string("model", "a file name (\(Names.fileNameRule))", where: Names.isFileName)
        device = try reader.string("device", Device.rule, where: { Device($0) != nil }).flatMap(Device.init)
        contextTokens = UInt32(try reader.integer("context_tokens", in: 16...1_048_576) ?? Int64(contextTokens))
        maxSequences = UInt32(try reader.integer("max_sequences", in: 1...1024) ?? Int64(maxSequences))
        maxStepTokens = UInt32(try reader.integer("max_step_tokens", in: 1...65_536) ?? Int64(maxStepTokens))
        maxPromptBytes = try reader.integer("max_prompt_bytes", in: 1024...4_194_304).map { Int($0) }
        keepAliveMilliseconds = try reader.milliseconds("keep_alive_s", upTo: Self.longestRest) ?? keepAliveMilliseconds
        makesCode = try reader.bool("jit") ?? makesCode
        guard !makesCode || device == nil else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step, cause: "'jit' is true and 'device' is given",
                next: "remove one of them: no worker may make code and hold a device")
        }
        if let seconds = try reader.number("load_timeout_s", in: 1...3600, "a number of seconds from 1 to 3600") {
            loadTimeoutMilliseconds = Int((seconds * 1000).rounded())
        }
        try readReplicas(reader)
        publishedPrefixes =
            try reader.strings("published_prefixes", atMost: 16, "a text", where: { !$0.isEmpty }) ?? []
        guard publishedPrefixes.count < maxSequences || publishedPrefixes.isEmpty else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause:
                    "'published_prefixes' has \(publishedPrefixes.count) texts and 'max_sequences' is \(maxSequences)",
                next: "raise 'max_sequences': each text holds one for good, and answers need others")
        }
        guard let value = reader.members["batch"] else { return }
        let batch = try ManifestReader(value, prefix: "batch.", known: Self.batchKeys, step: reader.step)
        batchRows = UInt32(try batch.integer("max_size", in: 1...4096) ?? Int64(batchRows))
        batchDelayMicroseconds = UInt32(
            try batch.integer("max_delay_us", in: 0...1_000_000) ?? Int64(batchDelayMicroseconds))
    }

    private mutating func readReplicas(_ reader: ManifestReader) throws(RuntimeError) {
        guard let value = reader.members["replicas"] else { return }
        let asked = try ManifestReader(value, prefix: "replicas.", known: Self.replicaKeys, step: reader.step)
        minReplicas = UInt32(try asked.integer("min", in: 0...Self.mostReplicas) ?? 0)
        maxReplicas = UInt32(try asked.integer("max", in: 1...Self.mostReplicas) ?? Int64(max(1, minReplicas)))
        guard minReplicas <= maxReplicas else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause: "'replicas.min' is \(minReplicas) and 'replicas.max' is \(maxReplicas)",
                next: "raise 'replicas.max', or lower 'replicas.min'")
        }
    }

    /// A device is shared by those who know how much of it is theirs, so each of the two needs the other.
    private func checkDeviceMemory(_ reader: ManifestReader) throws(RuntimeError) {
        let isLimited = limits.deviceMemoryBytes > 0
        guard isLimited != (device != nil) else { return }
        let cause =
            device.map { "'device' is \"\($0)\" and 'limits.device_memory_mb' is missing" }
            ?? "'limits.device_memory_mb' is given and 'device' is not"
        throw RuntimeError(
            .manifestInvalid, step: reader.step, cause: cause,
            next: kind == .handler
                ? "remove it: a handler has no device, and calls a model instead"
                : isLimited
                    ? "add device: \"gpu:0\", or remove the limit" : "say how many MiB of the device the model may take"
        )
    }

    /// Relative, and never above the folder.
    private static func isSourcePath(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return path.utf8.count <= 512 && parts.allSatisfy { Names.isFileName(String($0)) }
    }

    private static func isTypeName(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return name.utf8.count <= 255
            && parts.allSatisfy { part in
                guard let first = part.first, first.isASCII, first.isLetter || first == "_" else { return false }
                return part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            }
    }
}

extension Manifest {
    private static let limitKeys = [
        "memory_mb", "device_memory_mb", "timeout_ms", "concurrency", "queue", "queue_timeout_ms", "cpu_percent",
        "cpu_weight", "threads", "files", "body_mb", "response_mb", "step_ms", "requests_per_second", "burst",
    ]

    private mutating func readLimits(_ reader: ManifestReader) throws(RuntimeError) {
        guard let value = reader.members["limits"] else { return }
        let asked = try ManifestReader(value, prefix: "limits.", known: Self.limitKeys, step: reader.step)
        typealias Range = Limits.Range
        if let n = try asked.integer("memory_mb", in: Range.memoryMebibytes) { limits.memoryBytes = UInt64(n) << 20 }
        if let n = try asked.integer("device_memory_mb", in: Range.deviceMemoryMebibytes) {
            limits.deviceMemoryBytes = UInt64(n) << 20
        }
        if let n = try asked.integer("timeout_ms", in: Range.timeoutMilliseconds) {
            limits.timeoutMilliseconds = Int(n)
        }
        if let n = try asked.integer("concurrency", in: Range.concurrency) { limits.concurrency = Int(n) }
        if let n = try asked.integer("queue", in: Range.queue) { limits.queue = Int(n) }
        if let n = try asked.integer("queue_timeout_ms", in: Range.queueTimeoutMilliseconds) {
            limits.queueTimeoutMilliseconds = Int(n)
        }
        if let n = try asked.integer("cpu_percent", in: Range.cpuPercent) { limits.cpuPercent = UInt32(n) }
        if let n = try asked.integer("cpu_weight", in: Range.cpuWeight) { limits.cpuWeight = UInt32(n) }
        if let n = try asked.integer("threads", in: Range.threads) { limits.threads = UInt32(n) }
        if let n = try asked.integer("files", in: Range.files) {
            limits.files = UInt32(n)
        } else if limits.deviceMemoryBytes > 0 {
            // CUDA holds some thirty descriptors for an empty context, and more for each stream.
            limits.files = 256
        }
        if let n = try asked.integer("body_mb", in: Range.bodyMebibytes) { limits.bodyBytes = UInt64(n) << 20 }
        if let n = try asked.integer("response_mb", in: Range.responseMebibytes) {
            limits.responseBytes = UInt64(n) << 20
        }
        limits.rate = try RequestRate(asked)
        guard kind == .handler || limits.rate == nil else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause: "'limits.requests_per_second' is for handlers: models are called by many tenants",
                next: "remove it; a tenant's quotas bound its calls of models (docs/quotas.md)")
        }
        if let n = try asked.integer("step_ms", in: Range.stepMilliseconds) {
            guard kind == .backend else {
                throw RuntimeError(
                    .manifestInvalid, step: reader.step,
                    cause: "'limits.step_ms' is for backends: a handler has no steps",
                    next: "remove it; 'limits.timeout_ms' bounds an invocation")
            }
            limits.stepMilliseconds = Int(n)
        }
        guard kind == .backend || limits.threads == 1 else {
            throw RuntimeError(
                .manifestInvalid, step: reader.step,
                cause: "'limits.threads' must be 1 for a handler, found \(limits.threads)",
                next: "remove it, and raise 'limits.concurrency' to serve more requests at once")
        }
    }
}

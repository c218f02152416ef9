// Manifest to one canonical JSON text, which `decode` reads back to an equal value; the registry stores it.

extension Manifest {
    package var canonicalJSON: String {
        var members: [String: JSONValue] = [
            "name": .string(name),
            "kind": .string(kind.rawValue),
            "version": .string(version),
            "limits": limitsValue,
            "sources": .array(sources.map(JSONValue.string)),
        ]
        if let library { members["library"] = .string(library) }
        if let language { members["language"] = .string(language) }
        if let parsed = try? JSON5.decode(Array(config.utf8), step: "config") { members["config"] = parsed }
        switch kind {
        case .handler:
            if let handlerType { members["handler"] = .string(handlerType) }
            members["reuse"] = .string(reuse.rawValue)
            members["access"] = .string(access.rawValue)
            members["idle_timeout_s"] = .number(Double(idleTimeoutMilliseconds) / 1000)
            members["models"] = .array(models.map(JSONValue.string))
            if !secrets.isEmpty { members["secrets"] = .array(secrets.map(JSONValue.string)) }
        case .backend:
            if let model { members["model"] = .string(model) }
            if let device { members["device"] = .string("\(device)") }
            members["context_tokens"] = .integer(Int64(contextTokens))
            members["max_sequences"] = .integer(Int64(maxSequences))
            members["max_step_tokens"] = .integer(Int64(maxStepTokens))
            if let maxPromptBytes { members["max_prompt_bytes"] = .integer(Int64(maxPromptBytes)) }
            if makesCode { members["jit"] = .bool(true) }
            if batchRows > 1 || batchDelayMicroseconds > 0 {
                members["batch"] = .object([
                    "max_size": .integer(Int64(batchRows)), "max_delay_us": .integer(Int64(batchDelayMicroseconds)),
                ])
            }
            members["load_timeout_s"] = .number(Double(loadTimeoutMilliseconds) / 1000)
            members["replicas"] = .object([
                "min": .integer(Int64(minReplicas)), "max": .integer(Int64(maxReplicas)),
            ])
            if !publishedPrefixes.isEmpty {
                members["published_prefixes"] = .array(publishedPrefixes.map(JSONValue.string))
            }
            members["keep_alive_s"] = .number(Double(keepAliveMilliseconds) / 1000)
        }
        return JSONValue.object(members).text
    }

    private var limitsValue: JSONValue {
        var members: [String: JSONValue] = [
            "memory_mb": .integer(Int64(limits.memoryBytes >> 20)),
            "timeout_ms": .integer(Int64(limits.timeoutMilliseconds)),
            "concurrency": .integer(Int64(limits.concurrency)),
            "queue": .integer(Int64(limits.queue)),
            "queue_timeout_ms": .integer(Int64(limits.queueTimeoutMilliseconds)),
            "cpu_percent": .integer(Int64(limits.cpuPercent)),
            "cpu_weight": .integer(Int64(limits.cpuWeight)),
            "threads": .integer(Int64(limits.threads)),
            "files": .integer(Int64(limits.files)),
            "body_mb": .integer(Int64(limits.bodyBytes >> 20)),
            "response_mb": .integer(Int64(limits.responseBytes >> 20)),
        ]
        if let rate = limits.rate {
            members["requests_per_second"] = .number(rate.perSecond)
            members["burst"] = .integer(Int64(rate.burst))
        }
        if kind == .backend { members["step_ms"] = .integer(Int64(limits.stepMilliseconds)) }
        if limits.deviceMemoryBytes > 0 {
            members["device_memory_mb"] = .integer(Int64(limits.deviceMemoryBytes >> 20))
        }
        return .object(members)
    }
}

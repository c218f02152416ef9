// GET /v1/models: OpenAI's fields of each model, and one of ours with its versions and what they do at the moment.
internal import Core
package import Platform
internal import Workers

/// One version as lists show it.
package struct ModelListing: Sendable {
    package let spec: ModelSpec
    package let status: ModelStatus

    package init(_ spec: ModelSpec, _ status: ModelStatus) {
        self.spec = spec
        self.status = status
    }

    /// The digest of the model's file; nil when the plugin has none, or when it is not known.
    package var fileDigest: String? { spec.files.first { $0.name == spec.worker.model }?.sha256 }
}

extension OpenAIWriter {
    /// `{"object":"list","data":[…]}` of the latest version of each model.
    /// - Parameter versions: all that are kept.
    package static func models(_ versions: [ModelListing], now: MonotonicTime) -> [UInt8] {
        var json = JSONWriter()
        json.raw("{\"object\":\"list\",\"data\":")
        json.array(versions.filter(\.spec.isLatest)) { json, latest in
            model(&json, latest, versions.filter { $0.spec.name == latest.spec.name }, now)
        }
        json.raw("}")
        return json.bytes
    }

    private static func model(
        _ json: inout JSONWriter, _ latest: ModelListing, _ versions: [ModelListing], _ now: MonotonicTime
    ) {
        json.raw("{\"id\":")
        json.string(latest.spec.name)
        json.raw(",\"object\":\"model\",\"created\":")
        json.integer(latest.spec.created)
        json.raw(",\"owned_by\":")
        json.string(latest.spec.worker.key.tenant)
        json.raw(",\"swiftlet\":{")
        fields(&json, latest, now)
        json.raw(",\"versions\":")
        json.array(versions) { json, version in
            json.raw("{")
            fields(&json, version, now)
            json.raw("}")
        }
        json.raw("}}")
    }

    /// What is told of one version, without the braces.
    package static func fields(_ json: inout JSONWriter, _ version: ModelListing, _ now: MonotonicTime) {
        let (spec, status) = (version.spec, version.status)
        json.raw("\"version\":")
        json.string(spec.version)
        json.raw(",\"digest\":")
        json.string(spec.worker.directory)
        json.raw(",\"aliases\":")
        json.array(spec.aliases) { $0.string($1) }
        json.raw(",\"model_sha256\":")
        json.string(orNull: version.fileDigest)
        json.raw(",\"state\":")
        json.string(status.phase(now: now).rawValue)
        json.raw(",\"running\":")
        json.integer(status.active)
        json.raw(",\"waiting\":")
        json.integer(status.waiting)
        json.raw(",\"replicas\":{\"loaded\":")
        json.integer(status.loaded)
        json.raw(",\"min\":")
        json.integer(spec.minReplicas)
        json.raw(",\"max\":")
        json.integer(spec.maxReplicas)
        json.raw("},\"memory_mb\":")
        json.integer(spec.worker.limits.memoryBytes >> 20)
        json.raw(",\"incident\":")
        guard let incident = status.incident else { return json.raw("null") }
        json.raw("{\"count\":")
        json.integer(incident.crashes)
        json.raw(",\"cause\":")
        json.string(incident.cause)
        json.raw(",\"next_try_ms\":")
        json.integer(now < incident.nextTry ? incident.nextTry.since(now) / 1_000_000 : 0)
        json.raw("}")
    }
}

// The admin routes of models: what they do at the moment, and the names of their versions.
internal import Core
internal import HTTP
internal import Inference
internal import Platform
internal import Registry
internal import Workers

extension GatewayShared {
    /// Every version that is kept, with what it does at the moment.
    var modelListings: [ModelListing] {
        inference.directoryOfModels.versions.map { ModelListing($0, inference.status(of: $0)) }
    }
}

extension Gateway {
    /// GET /admin/v1/models
    func listModels(_ exchange: HTTPExchange, requestID: String) {
        var json = JSONWriter()
        json.raw("{\"models\":")
        let now = MonotonicTime.now
        json.array(shared.modelListings) { json, version in
            json.raw("{\"name\":")
            json.string(version.spec.name)
            json.raw(",")
            OpenAIWriter.fields(&json, version, now)
            json.raw(",\"files\":")
            json.array(version.spec.files) { json, file in
                json.raw("{\"name\":")
                json.string(file.name)
                json.raw(",\"sha256\":")
                json.string(file.sha256)
                json.raw(",\"bytes\":")
                json.integer(file.stamp.bytes)
                json.raw("}")
            }
            json.raw("}")
        }
        let memory = shared.inference.memory
        json.raw(",\"memory\":{\"reserved_bytes\":")
        json.integer(memory.held.memory)
        json.raw(",\"budget_bytes\":")
        if let most = memory.limits.memory { json.integer(most) } else { json.raw("null") }
        json.raw(",\"waiting\":")
        json.integer(memory.waiting)
        json.raw("}}\n")
        exchange.respond(
            status: 200, headers: standardHeaders(exchange, "application/json", requestID), body: json.bytes)
    }

    /// PUT /admin/v1/models/{name}/aliases/{alias}?to=VERSION, and DELETE of the same.
    func changeAlias(_ exchange: HTTPExchange, model: String, alias: String, requestID: String) {
        let removes = exchange.request.method == "DELETE"
        let version = exchange.request.query.split(separator: "&").first { $0.hasPrefix("to=") }.map {
            String($0.dropFirst(3))
        }
        change(exchange, requestID) { shared throws(RuntimeError) in
            let version = removes ? nil : version ?? ""
            let reference = version.map { "\(model)@\($0)" } ?? "\(model)@\(alias)"
            guard let spec = shared.inference.model(named: reference),
                let found = shared.registry.snapshot.modelVersions.first(where: {
                    $0.deployment.name == spec.name && $0.deployment.digest == spec.worker.directory
                })
            else {
                throw RuntimeError(
                    .notFound, step: "alias \(model)@\(alias)",
                    cause: "there is no version \(Names.quoted(reference))",
                    next: "name an alias, a version or the beginning of a digest that `swiftlet models` lists")
            }
            if version == nil {
                try shared.registry.removeAlias(alias, of: model)
            } else {
                try shared.registry.setAlias(alias, to: found.deployment)
            }
            shared.refreshModels()
            return found.deployment.described
        }
    }
}

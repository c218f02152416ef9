// GET /admin/v1/functions/{tenant}/{name}/sbom: the bill of materials that came with a function or model, byte for byte.
internal import Core
internal import HTTP
internal import Platform
internal import PluginHost
internal import Registry

extension Gateway {
    func billOfMaterials(_ exchange: HTTPExchange, _ key: FunctionKey, requestID: String) {
        let snapshot = shared.registry.snapshot
        let found = key.tenant == Deployment.platform ? snapshot.models[key.name] : snapshot.functions[key]
        guard let deployment = found else {
            return answer(
                exchange,
                RuntimeError(
                    .notFound, step: "sbom of \(key)", cause: "no such function is deployed", next: "see `swiftlet ls`"),
                requestID: requestID)
        }
        let own = LoopBound((self, exchange), on: loop)
        let remote = loop.remote
        shared.files.run { [shared] in
            let result = Result { () throws(RuntimeError) in
                let bytes = try shared.store.read(
                    BillOfMaterials.name, of: deployment, most: BillOfMaterials.largest)
                guard let bytes else {
                    throw RuntimeError(
                        .notFound, step: "sbom of \(key)", cause: "it came with no \(BillOfMaterials.name)",
                        next: "put one into its folder, and deploy it again")
                }
                return bytes
            }
            remote.submit { _ in
                let (gateway, exchange) = own.value
                switch result {
                case .failure(let error): gateway.answer(exchange, error, requestID: requestID)
                case .success(let bytes):
                    let headers = gateway.standardHeaders(exchange, "application/json", requestID)
                    exchange.respond(status: 200, headers: headers, body: bytes)
                }
            }
        }
    }
}

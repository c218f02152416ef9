// Who asks and by which door, as the usage ledger writes it down.
internal import Core
internal import HTTP
internal import Inference
internal import Ledger

/// Of one request: what its rows in the ledger have in common.
struct CallOrigin {
    /// `Principal.id`.
    var principal: String
    var requestID: String
}

extension Gateway {
    func origin(of exchange: HTTPExchange) -> CallOrigin {
        CallOrigin(principal: exchange.caller.principal.id, requestID: exchange.caller.requestID)
    }

    /// Adds up what one call of a model takes. The model's name is the client's word: one that there isn't has no line of its own.
    func meter(_ origin: CallOrigin, tenant: String, model: String, route: String, bytesIn: Int) -> CallMeter {
        var row = UsageRow()
        row.requestID = origin.requestID
        row.tenant = tenant
        row.principal = origin.principal
        row.kind = .model
        let spec = shared.inference.model(named: model)
        row.name = spec?.name ?? "_unknown"
        row.version = spec?.version ?? ""
        row.route = route
        row.bytesIn = UInt64(bytesIn)
        return CallMeter(row, ledger: shared.usage)
    }

    /// The last part of a model's route, e.g. `embeddings`; `/v1/chat/completions` is `chat`.
    static func routeName(_ path: String) -> String {
        if path.hasPrefix("/v1/chat/") { return "chat" }
        return path.split(separator: "/").last.map(String.init) ?? ""
    }
}

extension CallMeter {
    /// The answer is whole.
    func answered(_ body: [UInt8]) {
        if end("success", status: 200) { add { $0.bytesOut += UInt64(body.count) } }
    }

    func refused(_ error: OpenAIError, status: Int) {
        end(error.status < 500 ? UsageRow.refused : "failed", status: status)
    }

    /// The caller left, or gave the call up.
    func cancelled(status: Int = 0) { end("cancelled", status: status) }
}

// OpenAI's /v1/responses, without a memory; the models and their events are those of /v1/chat/completions.
internal import HTTP
internal import Inference

extension Gateway {
    func responses(_ exchange: HTTPExchange, requestID: String) {
        readPost(exchange, requestID) { gateway, body in
            gateway.begin(exchange, requestID, bytes: body.count) { () throws(OpenAIError) in
                let request = try ResponsesRequest(body.span, parser: &gateway.parser)
                let head = gateway.head("resp_", model: request.chat.model)
                return Work(
                    request.chat, stream: ResponseStream(head, request),
                    collector: ResponseWriter.collector(head, request))
            }
        }
    }

    /// A response that was answered is not kept; who asks for it is told so.
    func noSuchResponse(_ exchange: HTTPExchange, requestID: String) {
        answer(
            exchange,
            OpenAIError(
                status: 404, type: "invalid_request_error", code: "not_found",
                message:
                    "\(exchange.request.path.prefix(200)): responses are not kept; POST /v1/responses gives each once"),
            requestID)
    }

    /// Engines give the bytes of a token only when they pick it.
    func detokenize(_ exchange: HTTPExchange, requestID: String) {
        answer(
            exchange,
            OpenAIError(
                status: 404, type: "invalid_request_error", code: "not_found",
                message: "/detokenize: not offered: engines say what a token is only when they pick it; keep the text, "
                    + "or use POST /tokenize"), requestID)
    }
}

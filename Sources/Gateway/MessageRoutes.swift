// Routes for Anthropic's clients, /v1/messages and what is below; the models and their events are those of the OpenAI routes.
internal import HTTP
internal import Inference

extension Gateway {
    func messages(_ exchange: HTTPExchange, requestID: String) {
        readPost(exchange, requestID) { gateway, body in
            gateway.begin(exchange, requestID, bytes: body.count) { () throws(OpenAIError) in
                let request = try MessagesRequest(body.span, parser: &gateway.parser).chat
                let head = gateway.head("msg_", model: request.model)
                return Work(
                    request, stream: MessageStream(head, options: request.options, requestID: requestID),
                    collector: MessageWriter.collector(head, options: request.options))
            }
        }
    }

    func countTokens(_ exchange: HTTPExchange, requestID: String) {
        readBody(exchange, requestID) { (gateway, bytes, tenant) throws(OpenAIError) in
            let request = try MessagesRequest(bytes.span, parser: &gateway.parser, counting: true)
            return WholeWork(
                request.chat.model, .tokens(try request.tokens(tenant: tenant)), MessageWriter.Count())
        }
    }

    /// What is below /v1/messages and not offered: batches.
    func noSuchMessages(_ exchange: HTTPExchange, requestID: String) {
        let path = exchange.request.path.prefix(200)
        answer(
            exchange,
            OpenAIError(
                status: 404, type: "invalid_request_error", code: "not_found",
                message: "\(path): there is no such route; POST /v1/messages and /v1/messages/count_tokens are"),
            requestID)
    }
}

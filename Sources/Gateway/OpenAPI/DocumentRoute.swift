// GET /openapi.json: the whole HTTP surface in one OpenAPI 3.1 document; it is no secret.
internal import HTTP

extension Gateway {
    func openAPI(_ exchange: HTTPExchange, requestID: String) {
        exchange.respond(
            status: 200, headers: standardHeaders(exchange, "application/json", requestID), body: OpenAPIDocument.bytes)
    }
}

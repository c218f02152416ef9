// Errors on Swiftlet's own routes, as RFC 9457 has them: application/problem+json (docs/http.md).
internal import Core
internal import HTTP
internal import Platform

extension Gateway {
    /// Answers with an error: `{"type","title","status","detail","instance","code","step","cause","next"}`, and what refused it when a
    /// limit did.
    func answer(
        _ exchange: HTTPExchange, _ error: RuntimeError, requestID: String, adding more: [(String, String)] = []
    ) {
        var headers = standardHeaders(exchange, "application/problem+json", requestID)
        // What is known exactly comes with the error; the others may try again soon.
        let wait: UInt64? =
            switch error.code {
            case .queueFull, .unavailable, .crashLoop: error.limit?.retryAfterMilliseconds ?? 1000
            default: error.limit?.retryAfterMilliseconds
            }
        if let wait, !more.contains(where: { $0.0 == "retry-after" }) {
            headers.append("retry-after", "\((wait + 999) / 1000)")
            headers.append("retry-after-ms", "\(wait)")
        }
        if error.code == .unauthorized { headers.append("www-authenticate", Self.challenge(exchange.request)) }
        for (name, value) in more { headers.append(name, value) }
        exchange.respond(status: error.httpStatus, headers: headers, body: Problem.body(error, requestID: requestID))
    }
}

enum Problem {
    /// Where `type` begins; the rest is the code.
    static let typePrefix = "urn:swiftlet:error:"

    static func body(_ error: RuntimeError, requestID: String) -> [UInt8] {
        var body: [UInt8] = [UInt8(ascii: "{")]
        func add(_ name: String, _ value: String) {
            if body.count > 1 { body.append(UInt8(ascii: ",")) }
            appendJSON(name, to: &body)
            body.append(UInt8(ascii: ":"))
            appendJSON(value, to: &body)
        }
        func add(_ name: String, _ value: UInt64) {
            body.append(contentsOf: ",\"\(name)\":\(value)".utf8)
        }
        add("type", typePrefix + error.code.name)
        add("title", title(error.code))
        add("status", UInt64(error.httpStatus))
        add("detail", "\(error.step): \(error.cause)")
        add("instance", requestID)
        add("code", error.code.name)
        add("step", error.step)
        add("cause", error.cause)
        add("next", error.next)
        if let hit = error.limit {
            add("limit", hit.kind.rawValue)
            add("level", hit.level.rawValue)
            if let wait = hit.retryAfterMilliseconds { add("retry_after_ms", wait) }
        }
        body.append(contentsOf: "}\n".utf8)
        return body
    }

    /// The same for every error of a code.
    static func title(_ code: RuntimeError.Code) -> String {
        switch code {
        case .badRequest: "The request can't be understood"
        case .unauthorized: "Nobody knows who sends this"
        case .forbidden: "The caller may not do this"
        case .notFound: "There is no such thing"
        case .methodNotAllowed: "The path has no such method"
        case .conflict: "It contradicts what is there"
        case .payloadTooLarge: "The body is too large"
        case .headerTooLarge: "The head is too large"
        case .manifestInvalid: "The manifest is invalid"
        case .pluginInvalid: "The plugin is invalid"
        case .queueFull: "Too many requests wait already"
        case .rateLimited: "A limit is reached"
        case .tenantSuspended: "The tenant is suspended"
        case .handlerFailed: "The handler failed"
        case .handlerCrashed: "The handler crashed"
        case .crashLoop: "The handler crashes again and again"
        case .outOfMemory: "The handler ran out of memory"
        case .unavailable: "Not available at this moment"
        case .timeout: "It took too long"
        case .internalError: "An error of the host"
        case .insufficientStorage: "There is no room to store it"
        }
    }
}

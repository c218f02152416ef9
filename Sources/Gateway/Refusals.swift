// How a request that is not let in is answered: in the shape that the clients of its route read.
internal import Core
internal import HTTP
internal import Inference
internal import Registry

extension Gateway {
    /// Nil unless the caller belongs to a tenant that is not served; what it is and has it may still see.
    func suspended(_ match: RouteMatch, _ principal: Principal, in current: RegistrySnapshot) -> RuntimeError? {
        guard let tenant = principal.tenant, !current.isServed(tenant) else { return nil }
        switch match.route.access {
        case .everybody, .known, .permission(.read), .permission(.readLogs): return nil
        case .function, .permission: return Self.isSuspended(tenant)
        }
    }

    static func isSuspended(_ tenant: String) -> RuntimeError {
        RuntimeError(
            .tenantSuspended, step: "serve the tenant \(tenant)", cause: "it is suspended, or being deleted",
            next: "ask the platform team; `swiftlet tenant resume` ends a suspension")
    }

    /// A credential that is no good.
    func refuse(_ exchange: HTTPExchange, _ match: RouteMatch, _ fault: AuthenticationFault, requestID: String) {
        let (code, next): (RuntimeError.Code, String) =
            switch fault.kind {
            case .invalid: (.unauthorized, "send a key that is whole and valid; a tenant's admin makes one")
            case .unavailable: (.unavailable, "send the request again in a moment")
            case .tooMany: (.rateLimited, "wait, and send a valid one")
            }
        refuse(
            exchange, match, RuntimeError(code, step: "authenticate", cause: fault.cause, next: next),
            requestID: requestID, retryAfterMilliseconds: fault.retryAfterMilliseconds)
    }

    /// What a 401 says in `www-authenticate` (RFC 6750): whether something was shown that is no good.
    static func challenge(_ request: HTTPRequest) -> String {
        let isShown = request.headers.contains("authorization") || request.headers.contains("x-api-key")
        return "Bearer realm=\"swiftlet\"" + (isShown ? ", error=\"invalid_token\"" : "")
    }

    /// A caller who may not, or not now.
    func refuse(
        _ exchange: HTTPExchange, _ match: RouteMatch, _ error: RuntimeError, requestID: String,
        retryAfterMilliseconds: UInt64? = nil
    ) {
        let wait = retryAfterMilliseconds ?? error.limit?.retryAfterMilliseconds
        // Who asks too much, and may have it, is counted and not denied access.
        if error.limit == nil { noteDenied(exchange, match, error, requestID: requestID) }
        switch match.route {
        case .chatCompletions, .completions, .embeddings, .rerank, .tokenize, .detokenize, .messages, .countTokens,
            .otherMessages, .responses, .otherResponses, .models:
            answer(exchange, OpenAIError.refused(error, wait), requestID)
        case .tensors: fail(exchange, OpenAIError.refused(error, wait), requestID)
        default:
            let fields = wait.map { [("retry-after", "\(($0 + 999) / 1000)"), ("retry-after-ms", "\($0)")] } ?? []
            answer(exchange, error, requestID: requestID, adding: fields)
        }
    }
}

extension OpenAIError {
    /// An error of ours, as OpenAI's own service would say it.
    static func refused(_ error: RuntimeError, _ retryAfterMilliseconds: UInt64? = nil) -> OpenAIError {
        let (type, code): (String, String) =
            switch error.code {
            case .unauthorized: ("invalid_request_error", "invalid_api_key")
            case .forbidden: ("permission_error", "insufficient_permissions")
            case .rateLimited: ("rate_limit_error", "rate_limit_exceeded")
            case .unavailable: ("server_error", error.code.name)
            case .payloadTooLarge: ("invalid_request_error", "request_too_large")
            default: ("permission_error", error.code.name)
            }
        return OpenAIError(
            status: error.httpStatus, type: type, code: code, message: "\(error)",
            retryAfterMilliseconds: retryAfterMilliseconds)
    }
}

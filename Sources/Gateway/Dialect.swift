// Whose clients a route serves: what its errors and its headers look like, whatever happened and wherever.
internal import FoundationEssentials
internal import HTTP
internal import Inference

enum Dialect {
    case openAI, responses, anthropic

    init(_ exchange: HTTPExchange) {
        let path = exchange.request.path
        self = path.hasPrefix("/v1/messages") ? .anthropic : path.hasPrefix("/v1/responses") ? .responses : .openAI
    }

    func status(_ error: OpenAIError) -> Int { self == .anthropic ? error.messagesStatus : error.status }

    func body(_ error: OpenAIError, _ requestID: String) -> [UInt8] {
        switch self {
        case .openAI: return error.body
        case .anthropic: return error.messagesBody(requestID: requestID)
        case .responses:
            // What the models call so has another name there.
            var error = error
            if error.param == "messages" { error.param = "input" }
            return error.body
        }
    }

    /// Adds the request's name, and how the caller stands with the quota that is nearest to its end.
    func append(_ standing: QuotaStanding?, _ requestID: String, to headers: inout HTTPHeaders) {
        if self == .anthropic { _ = headers.append("request-id", requestID) }
        guard let standing else { return }
        let prefix = self == .anthropic ? "anthropic-ratelimit-tokens-" : "x-ratelimit-"
        let suffix = self == .anthropic ? "" : "-tokens"
        _ = headers.append(prefix + "limit" + suffix, "\(standing.limit)")
        _ = headers.append(prefix + "remaining" + suffix, "\(standing.remaining)")
        guard let reset = standing.resetMilliseconds else { return }
        let seconds = Double(reset) / 1000
        _ = headers.append(
            prefix + "reset" + suffix,
            self == .anthropic ? Date(timeIntervalSinceNow: seconds).formatted(.iso8601) : "\(seconds)s")
    }
}

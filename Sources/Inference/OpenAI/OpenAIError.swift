// What a client of the OpenAI routes is told when its request can't be served; docs/openai.md lists every code.

/// A refusal or failure in the shape OpenAI clients read.
package struct OpenAIError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The HTTP status.
    package var status: Int
    package var type: String
    package var code: String?
    /// The field of the request that is to blame.
    package var param: String?
    package var message: String
    /// When trying again makes sense; goes into `Retry-After` and `retry-after-ms`.
    package var retryAfterMilliseconds: UInt64?
    /// How the caller stands, when a quota refused it.
    package var standing: QuotaStanding?
    /// Which quota that was.
    package var quota: QuotaName?

    package init(
        status: Int, type: String, code: String? = nil, param: String? = nil, message: String,
        retryAfterMilliseconds: UInt64? = nil
    ) {
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.message = message
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }

    package var description: String { "\(status) \(code ?? type): \(message)" }

    /// `{"error":{…}}`
    package var body: [UInt8] {
        var json = JSONWriter()
        json.raw("{\"error\":{\"message\":")
        json.string(message)
        json.raw(",\"type\":")
        json.string(type)
        json.raw(",\"param\":")
        json.string(orNull: param)
        json.raw(",\"code\":")
        json.string(orNull: code)
        QuotaName.write(&json, quota)
        json.raw("}}")
        return json.bytes
    }
}

// MARK: the request is wrong

extension OpenAIError {
    package static func invalid(_ param: String?, _ message: String, code: String? = nil) -> OpenAIError {
        OpenAIError(status: 400, type: "invalid_request_error", code: code, param: param, message: message)
    }

    package static func missing(_ param: String) -> OpenAIError {
        invalid(param, "\(param): missing; it is required", code: "missing_required_parameter")
    }

    package static func notOffered(_ param: String, _ advice: String) -> OpenAIError {
        invalid(param, "\(param): not offered by this server; \(advice)", code: "unsupported_parameter")
    }

    package static func notJSON(_ failure: JSONFailure) -> OpenAIError {
        invalid(nil, "body: not a JSON object we can read: \(failure)", code: "invalid_json")
    }

    package static func modelNotFound(_ name: String) -> OpenAIError {
        OpenAIError(
            status: 404, type: "invalid_request_error", code: "model_not_found", param: "model",
            message: "model: there is no model \"\(name.prefix(200))\" here; GET /v1/models lists them")
    }

    package static func contextLength(prompt: Int, answer: Int, limit: Int) -> OpenAIError {
        invalid(
            "messages",
            "This model's maximum context length is \(limit) tokens. However, you requested \(prompt + answer) tokens "
                + "(\(prompt) in the prompt, \(answer) for the answer). Shorten the prompt or lower max_tokens.",
            code: "context_length_exceeded")
    }

    package static func modelCannot(_ name: String, _ what: String) -> OpenAIError {
        invalid("model", "model: \"\(name)\" can't \(what); choose another model", code: "unsupported_value")
    }
}

// MARK: the server can't

extension OpenAIError {
    package static func queueFull(_ who: String, waiting: Int) -> OpenAIError {
        OpenAIError(
            status: 429, type: "rate_limit_error", code: "rate_limit_exceeded",
            message: "queue: \(waiting) requests of \(who) wait for this model already; send again later",
            retryAfterMilliseconds: 1000)
    }

    package static func modelUnavailable(_ name: String, _ cause: String, retryAfterMilliseconds: UInt64) -> OpenAIError
    {
        OpenAIError(
            status: 503, type: "server_error", code: "model_unavailable", param: "model",
            message: "model \(name): \(cause)", retryAfterMilliseconds: retryAfterMilliseconds)
    }

    /// The worker was ended, because it held more of its device than the model may.
    package static func overBudget(_ name: String, _ overuse: DeviceOveruse) -> OpenAIError {
        OpenAIError(
            status: 500, type: "server_error", code: "model_over_budget",
            message: "model \(name): it \(overuse); \(DeviceOveruse.advice)")
    }

    /// The worker ended, or broke its contract, while it served this request.
    package static func modelFailed(_ name: String, _ cause: String) -> OpenAIError {
        OpenAIError(status: 500, type: "server_error", code: "model_failed", message: "model \(name): \(cause)")
    }
}

// Our errors as Anthropic's clients read them: other words for the types, another frame, and some other statuses.

extension OpenAIError {
    /// The HTTP status on `/v1/messages`: what waits for capacity is "overloaded" there.
    package var messagesStatus: Int { status == 503 ? 529 : status }

    /// `{"type":"error","error":{…},"request_id"}`
    package func messagesBody(requestID: String) -> [UInt8] {
        var json = JSONWriter()
        json.raw("{\"type\":\"error\",\"error\":{\"type\":")
        json.string(messagesType)
        json.raw(",\"message\":")
        json.string(message)
        if let code {
            json.raw(",\"details\":{\"error_code\":")
            json.string(code)
            json.raw(",\"param\":")
            json.string(orNull: param)
            QuotaName.write(&json, quota)
            json.raw("}")
        }
        json.raw("},\"request_id\":")
        json.string(requestID)
        json.raw("}")
        return json.bytes
    }

    private var messagesType: String {
        switch messagesStatus {
        case 401: "authentication_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 529: "overloaded_error"
        case 500...: "api_error"
        default: "invalid_request_error"
        }
    }
}

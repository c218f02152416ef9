// The JSON of OpenAI's responses, field by field as its clients check them; ResponseStream.swift sends it in pieces.
internal import Core

package enum ResponseWriter {
    enum Status {
        case inProgress
        case completed
        /// `max_output_tokens` or a quota cut it.
        case incomplete(QuotaName?)
        case failed(OpenAIError)

        var word: StaticString {
            switch self {
            case .inProgress: "\"in_progress\""
            case .completed: "\"completed\""
            case .incomplete: "\"incomplete\""
            case .failed: "\"failed\""
            }
        }

        init(_ reason: FinishReason, isCall: Bool, cutBy: QuotaName?) {
            self = reason == .length && !isCall ? .incomplete(cutBy) : .completed
        }
    }

    /// Gathers a whole answer.
    package static func collector(_ head: AnswerHead, _ request: ResponsesRequest) -> any AnswerBody {
        AnswerCollector(request.chat.options) { choices, usage in
            let status: Status = choices[0].reason == "length" ? .incomplete(choices[0].cutBy) : .completed
            return response(head, request.echo, status, choices[0], usage: usage)
        }
    }

    /// - Parameter choice: what the answer is so far; nil: nothing.
    static func response(
        _ head: AnswerHead, _ echo: ResponsesEcho, _ status: Status, _ choice: AnswerChoice?, usage: TokenUsage?
    ) -> [UInt8] {
        var json = JSONWriter(reserving: 1024 + echo.json.count + (choice?.text.utf8.count ?? 0))
        json.raw("{\"id\":")
        json.string(head.id)
        json.raw(",\"object\":\"response\",\"created_at\":")
        json.integer(head.created)
        json.raw(",\"model\":")
        json.string(head.model)
        json.raw(",\"status\":")
        json.raw(status.word)
        json.raw(",\"error\":")
        error(&json, status)
        json.raw(",\"incomplete_details\":")
        details(&json, status)
        json.raw(",\"output\":[")
        if let choice { item(&json, head, choice, status) }
        json.raw("],\"usage\":")
        if let usage { self.usage(&json, usage) } else { json.raw("null") }
        json.raw(bytes: echo.json)
        json.raw("}")
        return json.bytes
    }

    // MARK: parts

    /// The one item of an answer: a message, or a call.
    static func item(_ json: inout JSONWriter, _ head: AnswerHead, _ choice: AnswerChoice, _ status: Status) {
        json.raw("{\"id\":")
        json.string(itemID(head, isCall: choice.call != nil))
        json.raw(",\"status\":")
        // An item is never "failed": it is what there was until then.
        if case .failed = status { json.raw("\"incomplete\"") } else { json.raw(status.word) }
        guard let call = choice.call else {
            json.raw(",\"type\":\"message\",\"role\":\"assistant\",\"content\":[")
            if case .inProgress = status {} else { part(&json, choice.text) }
            return json.raw("]}")
        }
        json.raw(",\"type\":\"function_call\",\"call_id\":")
        json.string(call.id)
        json.raw(",\"name\":")
        json.string(call.name)
        json.raw(",\"arguments\":")
        json.string(call.arguments)
        json.raw("}")
    }

    static func part(_ json: inout JSONWriter, _ text: String) {
        json.raw("{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":")
        json.string(text)
        json.raw("}")
    }

    static func itemID(_ head: AnswerHead, isCall: Bool) -> String {
        (isCall ? "fc_" : "msg_") + head.id.dropFirst("resp_".count)
    }

    private static func error(_ json: inout JSONWriter, _ status: Status) {
        guard case .failed(let error) = status else { return json.raw("null") }
        json.raw("{\"code\":")
        json.raw(error.status == 429 ? "\"rate_limit_exceeded\"" : "\"server_error\"")
        json.raw(",\"message\":")
        json.string(error.message)
        json.raw(",\"type\":")
        json.string(error.type)
        json.raw("}")
    }

    private static func details(_ json: inout JSONWriter, _ status: Status) {
        guard case .incomplete(let cutBy) = status else { return json.raw("null") }
        json.raw("{\"reason\":\"max_output_tokens\"")
        QuotaName.write(&json, cutBy)
        json.raw("}")
    }

    private static func usage(_ json: inout JSONWriter, _ usage: TokenUsage) {
        json.raw("{\"input_tokens\":")
        json.integer(usage.promptTokens)
        json.raw(",\"input_tokens_details\":{\"cached_tokens\":")
        json.integer(usage.cachedTokens)
        json.raw(",\"cache_write_tokens\":0},\"output_tokens\":")
        json.integer(usage.completionTokens)
        json.raw(",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":")
        json.integer(usage.promptTokens + usage.completionTokens)
        json.raw("}")
    }
}

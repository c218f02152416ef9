// The JSON of answers, field by field as OpenAI clients check them; StreamWriter and AnswerCollector call it.
internal import Core
internal import Workers

/// What every part of one answer carries.
package struct AnswerHead: Sendable {
    package enum Kind: Sendable {
        case chat, text
    }

    package var kind: Kind
    /// `chatcmpl-…`, `cmpl-…`, `msg_…` or `resp_…`
    package var id: String
    /// Seconds since 1970.
    package var created: Int64
    package var model: String

    package init(kind: Kind, id: String, created: Int64, model: String) {
        self.kind = kind
        self.id = id
        self.created = created
        self.model = model
    }
}

/// Writes whole objects.
package enum OpenAIWriter {
    /// `chat.completion` or `text_completion`
    static func answer(_ head: AnswerHead, _ choices: [AnswerChoice], usage: TokenUsage) -> [UInt8] {
        var json = JSONWriter(reserving: 512 + choices.reduce(0) { $0 + $1.text.utf8.count })
        begin(&json, head, object: head.kind == .chat ? "chat.completion" : "text_completion")
        for (index, choice) in choices.enumerated() {
            json.raw(index > 0 ? ",{\"index\":" : "{\"index\":")
            json.integer(index)
            switch head.kind {
            case .chat:
                message(&json, choice)
                json.raw(",\"logprobs\":")
                chatLogprobs(&json, choice.call == nil ? choice.logprobs : nil)
            case .text:
                json.raw(",\"text\":")
                json.string(choice.text)
                json.raw(",\"logprobs\":")
                textLogprobs(&json, choice.logprobs, offset: 0)
            }
            json.raw(",\"finish_reason\":")
            finish(&json, choice.reason ?? "stop", choice.cutBy)
            json.raw("}")
        }
        json.raw("],\"usage\":")
        self.usage(&json, usage)
        json.raw("}")
        return json.bytes
    }

    private static func message(_ json: inout JSONWriter, _ choice: AnswerChoice) {
        json.raw(",\"message\":{\"role\":\"assistant\",\"content\":")
        json.string(orNull: choice.call == nil ? choice.text : nil)
        json.raw(",\"refusal\":null")
        if let call = choice.call {
            json.raw(",\"tool_calls\":[{\"id\":")
            json.string(call.id)
            json.raw(",\"type\":\"function\",\"function\":{\"name\":")
            json.string(call.name)
            json.raw(",\"arguments\":")
            json.string(call.arguments)
            json.raw("}}]")
        }
        json.raw("}")
    }

    // MARK: parts

    /// Everything up to the choices.
    static func begin(_ json: inout JSONWriter, _ head: AnswerHead, object: String) {
        json.raw("{\"id\":")
        json.string(head.id)
        json.raw(",\"object\":")
        json.string(object)
        json.raw(",\"created\":")
        json.integer(head.created)
        json.raw(",\"model\":")
        json.string(head.model)
        json.raw(",\"system_fingerprint\":null,\"choices\":[")
    }

    static func usage(_ json: inout JSONWriter, _ usage: TokenUsage) {
        json.raw("{\"prompt_tokens\":")
        json.integer(usage.promptTokens)
        json.raw(",\"completion_tokens\":")
        json.integer(usage.completionTokens)
        json.raw(",\"total_tokens\":")
        json.integer(usage.promptTokens + usage.completionTokens)
        json.raw(",\"prompt_tokens_details\":{\"cached_tokens\":")
        json.integer(usage.cachedTokens)
        json.raw("}}")
    }

    /// The value of `finish_reason`; and which quota cut the answer, when one did: a field of ours.
    static func finish(_ json: inout JSONWriter, _ word: String, _ cutBy: QuotaName?) {
        json.string(word)
        QuotaName.write(&json, cutBy)
    }

    /// The word OpenAI has for it. Nobody reads the answer of a cancelled request to its end.
    static func word(for reason: FinishReason, isCall: Bool) -> String {
        isCall ? "tool_calls" : reason == .length ? "length" : "stop"
    }

    static func chatLogprobs(_ json: inout JSONWriter, _ logprobs: [TokenLogprob]?) {
        guard let logprobs else { return json.raw("null") }
        json.raw("{\"content\":")
        json.array(logprobs) { json, token in
            self.token(&json, token.piece, token.logprob)
            json.raw(",\"top_logprobs\":")
            json.array(token.top) { json, other in
                self.token(&json, other.piece, other.logprob)
                json.raw("}")
            }
            json.raw("}")
        }
        json.raw(",\"refusal\":null}")
    }

    /// Opens an object and leaves it open.
    private static func token(_ json: inout JSONWriter, _ piece: [UInt8], _ logprob: Float) {
        json.raw("{\"token\":")
        json.string(String(decoding: piece, as: UTF8.self))
        json.raw(",\"logprob\":")
        json.number(logprob)
        json.raw(",\"bytes\":")
        json.array(piece) { json, byte in json.integer(byte) }
    }

    /// The older shape. `offset`: characters of the answer before these tokens.
    static func textLogprobs(_ json: inout JSONWriter, _ logprobs: [TokenLogprob]?, offset: Int) {
        guard let logprobs else { return json.raw("null") }
        json.raw("{\"tokens\":")
        json.array(logprobs) { json, token in json.string(String(decoding: token.piece, as: UTF8.self)) }
        json.raw(",\"token_logprobs\":")
        json.array(logprobs) { json, token in json.number(token.logprob) }
        json.raw(",\"top_logprobs\":")
        json.array(logprobs) { json, token in
            json.raw("{")
            for (index, other) in token.top.enumerated() {
                if index > 0 { json.raw(",") }
                json.string(String(decoding: other.piece, as: UTF8.self))
                json.raw(":")
                json.number(other.logprob)
            }
            json.raw("}")
        }
        var place = offset
        json.raw(",\"text_offset\":")
        json.array(logprobs) { json, token in
            json.integer(place)
            place += String(decoding: token.piece, as: UTF8.self).unicodeScalars.count
        }
        json.raw("}")
    }
}

// Turns the events of one request into server-sent events, as `stream: true` asks for.

/// The bytes of one streamed answer. Feed it every event in order.
package struct StreamWriter {
    package static let contentType = "text/event-stream"

    private let head: AnswerHead
    private let includeUsage: Bool
    private let wantLogprobs: Bool
    /// Characters sent so far; older logprobs count places by it.
    private var sentCharacters = 0

    package init(_ head: AnswerHead, options: GenerationOptions) {
        self.head = head
        includeUsage = options.includeUsage
        wantLogprobs = options.wantLogprobs
    }

    /// The bytes to send for an event; empty when there is nothing to say yet. Until the first bytes are sent, a `.failed`
    /// can still be answered with its own status instead.
    package mutating func write(_ event: GenerationEvent) -> [UInt8] {
        switch event {
        case .queued, .inferred: return []
        case .started:
            return head.kind == .chat ? chunk(delta: "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}") : []
        case .text(let text, let logprobs): return textChunk(text, logprobs)
        case .finished(let reason, let usage, _):
            return finishChunk(reason) + (includeUsage ? usageChunk(usage) : []) + Array("data: [DONE]\n\n".utf8)
        case .failed(let error): return sent(error.body)
        }
    }

    private mutating func textChunk(_ text: String, _ logprobs: [TokenLogprob]) -> [UInt8] {
        defer { sentCharacters += text.unicodeScalars.count }
        var json = opened()
        switch head.kind {
        case .chat:
            json.raw("{\"index\":0,\"delta\":{\"content\":")
            json.string(text)
            json.raw("},\"logprobs\":")
            OpenAIWriter.chatLogprobs(&json, wantLogprobs ? logprobs : nil)
        case .text:
            json.raw("{\"index\":0,\"text\":")
            json.string(text)
            json.raw(",\"logprobs\":")
            OpenAIWriter.textLogprobs(&json, wantLogprobs ? logprobs : nil, offset: sentCharacters)
        }
        json.raw(",\"finish_reason\":null}]")
        return closed(json)
    }

    private func chunk(delta: StaticString) -> [UInt8] {
        var json = opened()
        json.raw("{\"index\":0,\"delta\":")
        json.raw(delta)
        json.raw(",\"logprobs\":null,\"finish_reason\":null}]")
        return closed(json)
    }

    private func finishChunk(_ reason: FinishReason) -> [UInt8] {
        var json = opened()
        json.raw(head.kind == .chat ? "{\"index\":0,\"delta\":{}" : "{\"index\":0,\"text\":\"\"")
        json.raw(",\"logprobs\":null,\"finish_reason\":")
        json.string(OpenAIWriter.word(for: reason))
        json.raw("}]")
        return closed(json)
    }

    private func usageChunk(_ usage: TokenUsage) -> [UInt8] {
        var json = opened()
        json.raw("],\"usage\":")
        OpenAIWriter.usage(&json, usage)
        json.raw("}")
        return sent(json.bytes)
    }

    private func opened() -> JSONWriter {
        var json = JSONWriter()
        OpenAIWriter.begin(&json, head, object: head.kind == .chat ? "chat.completion.chunk" : "text_completion")
        return json
    }

    // A client that asked for the usage reads null for it in every chunk but the last.
    private func closed(_ json: JSONWriter) -> [UInt8] {
        var json = json
        json.raw(includeUsage ? ",\"usage\":null}" : "}")
        return sent(json.bytes)
    }

    private func sent(_ json: [UInt8]) -> [UInt8] { Array("data: ".utf8) + json + Array("\n\n".utf8) }
}

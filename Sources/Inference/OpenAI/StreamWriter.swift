// Turns the events of one request into server-sent events, as `stream: true` asks for.

/// The bytes of one streamed answer. Feed it every event in order.
package struct StreamWriter: AnswerStream {
    package static let contentType = "text/event-stream"

    private struct Choice {
        var reader: ToolCallReader
        /// Characters sent so far; older logprobs count places by it.
        var sentCharacters = 0
        var isOver = false
    }

    private let head: AnswerHead
    private let includeUsage: Bool
    private let wantLogprobs: Bool
    /// Whether an answer is nothing but text.
    private let isText: Bool
    private var choices: [Choice]
    private var usage = TokenUsage()
    /// The last event was written; nothing more will be.
    package private(set) var isOver = false

    package init(_ head: AnswerHead, options: GenerationOptions) {
        self.head = head
        includeUsage = options.includeUsage
        wantLogprobs = options.wantLogprobs
        isText = options.form == .text
        choices = (0..<options.choices).map { _ in Choice(reader: ToolCallReader(options.form)) }
    }

    /// The bytes to send for an event; empty when there is nothing to say yet. Until the first bytes are sent, a `.failed`
    /// can still be answered with its own status instead.
    package mutating func write(_ event: GenerationEvent, choice: Int = 0) -> [UInt8] {
        guard !isOver else { return [] }
        switch event {
        case .queued, .embedding, .tokens, .inferred: return []
        case .started:
            guard head.kind == .chat else { return [] }
            return delta(choice) { json in
                json.raw("\"role\":\"assistant\",\"content\":")
                json.raw(isText ? "\"\"" : "null")
                json.raw(",\"refusal\":null")
            }
        case .text(let text, let logprobs):
            return choices[choice].reader.push(text).flatMap { part in write(part, logprobs, choice) }
        case .finished(let reason, let usage, _): return finish(choice, reason, usage)
        case .failed(let error):
            isOver = true
            return sent(error.body)
        }
    }

    private mutating func write(_ part: AnswerPart, _ logprobs: [TokenLogprob], _ choice: Int) -> [UInt8] {
        switch part {
        case .content(let text): return textChunk(text, logprobs, choice)
        case .call(let name):
            return delta(choice) { json in
                json.raw("\"tool_calls\":[{\"index\":0,\"id\":")
                json.string(ToolCallReader.newID())
                json.raw(",\"type\":\"function\",\"function\":{\"name\":")
                json.string(name)
                json.raw(",\"arguments\":\"\"}}]")
            }
        case .arguments(let text):
            return delta(choice) { json in
                json.raw("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":")
                json.string(text)
                json.raw("}}]")
            }
        }
    }

    private mutating func textChunk(_ text: String, _ logprobs: [TokenLogprob], _ choice: Int) -> [UInt8] {
        let before = choices[choice].sentCharacters
        choices[choice].sentCharacters += text.unicodeScalars.count
        var json = opened(choice)
        switch head.kind {
        case .chat:
            json.raw(",\"delta\":{\"content\":")
            json.string(text)
            json.raw("},\"logprobs\":")
            OpenAIWriter.chatLogprobs(&json, wantLogprobs ? logprobs : nil)
        case .text:
            json.raw(",\"text\":")
            json.string(text)
            json.raw(",\"logprobs\":")
            OpenAIWriter.textLogprobs(&json, wantLogprobs ? logprobs : nil, offset: before)
        }
        json.raw(",\"finish_reason\":null}]")
        return closed(json)
    }

    private func delta(_ choice: Int, _ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = opened(choice)
        json.raw(",\"delta\":{")
        body(&json)
        json.raw("},\"logprobs\":null,\"finish_reason\":null}]")
        return closed(json)
    }

    private mutating func finish(_ choice: Int, _ reason: FinishReason, _ usage: TokenUsage) -> [UInt8] {
        choices[choice].isOver = true
        self.usage.add(usage)
        var json = opened(choice)
        json.raw(head.kind == .chat ? ",\"delta\":{}" : ",\"text\":\"\"")
        json.raw(",\"logprobs\":null,\"finish_reason\":")
        OpenAIWriter.finish(
            &json, OpenAIWriter.word(for: reason, isCall: choices[choice].reader.isComplete), usage.cutBy)
        json.raw("}]")
        isOver = choices.allSatisfy(\.isOver)
        guard isOver else { return closed(json) }
        return closed(json) + (includeUsage ? usageChunk() : []) + Array("data: [DONE]\n\n".utf8)
    }

    private func usageChunk() -> [UInt8] {
        var json = JSONWriter()
        begin(&json)
        json.raw("],\"usage\":")
        OpenAIWriter.usage(&json, usage)
        json.raw("}")
        return sent(json.bytes)
    }

    private func begin(_ json: inout JSONWriter) {
        OpenAIWriter.begin(&json, head, object: head.kind == .chat ? "chat.completion.chunk" : "text_completion")
    }

    private func opened(_ choice: Int) -> JSONWriter {
        var json = JSONWriter()
        begin(&json)
        json.raw("{\"index\":")
        json.integer(choice)
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

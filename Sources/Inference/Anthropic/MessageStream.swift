// Turns the events of one request into Anthropic's server-sent events; an answer is one block, of text or a call.

package struct MessageStream: AnswerStream {
    private let head: AnswerHead
    private let requestID: String
    private var reader: ToolCallReader
    private var blockIsOpen = false
    package private(set) var isOver = false

    package init(_ head: AnswerHead, options: GenerationOptions, requestID: String) {
        self.head = head
        self.requestID = requestID
        reader = ToolCallReader(options.form)
    }

    package mutating func write(_ event: GenerationEvent, choice: Int) -> [UInt8] {
        guard !isOver else { return [] }
        switch event {
        case .queued, .embedding, .tokens, .inferred: return []
        case .started(let promptTokens, _): return start(promptTokens)
        case .text(let text, _): return reader.push(text).flatMap { write($0) }
        case .finished(let reason, let usage, _): return finish(reason, usage)
        case .failed(let error):
            isOver = true
            return namedEvent("error", error.messagesBody(requestID: requestID))
        }
    }

    private func start(_ promptTokens: Int) -> [UInt8] {
        var usage = TokenUsage()
        usage.promptTokens = promptTokens
        var json = JSONWriter()
        json.raw("{\"type\":\"message_start\",\"message\":")
        MessageWriter.begin(&json, head)
        json.raw("],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":")
        MessageWriter.usage(&json, usage)
        json.raw("}}")
        return namedEvent("message_start", json.bytes) + namedEvent("ping", Array("{\"type\":\"ping\"}".utf8))
    }

    private mutating func write(_ part: AnswerPart) -> [UInt8] {
        switch part {
        case .content(let text):
            let opening = blockIsOpen ? [] : open { json in json.raw("{\"type\":\"text\",\"text\":\"\"}") }
            return opening
                + delta { json in
                    json.raw("{\"type\":\"text_delta\",\"text\":")
                    json.string(text)
                }
        case .call(let name):
            return open { json in
                MessageWriter.toolUse(&json, name: name)
                json.raw("{}}")
            }
        case .arguments(let text):
            return delta { json in
                json.raw("{\"type\":\"input_json_delta\",\"partial_json\":")
                json.string(text)
            }
        }
    }

    private mutating func open(_ block: (inout JSONWriter) -> Void) -> [UInt8] {
        blockIsOpen = true
        var json = JSONWriter()
        json.raw("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":")
        block(&json)
        json.raw("}")
        return namedEvent("content_block_start", json.bytes)
    }

    /// `body` leaves its object open.
    private func delta(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter()
        json.raw("{\"type\":\"content_block_delta\",\"index\":0,\"delta\":")
        body(&json)
        json.raw("}}")
        return namedEvent("content_block_delta", json.bytes)
    }

    private mutating func finish(_ reason: FinishReason, _ usage: TokenUsage) -> [UInt8] {
        isOver = true
        var json = JSONWriter()
        json.raw("{\"type\":\"message_delta\",\"delta\":{")
        MessageWriter.stop(&json, OpenAIWriter.word(for: reason, isCall: reader.isComplete), usage.stop)
        QuotaName.write(&json, usage.cutBy)
        json.raw("},\"usage\":")
        MessageWriter.usage(&json, usage)
        json.raw("}")
        let end = Array("{\"type\":\"content_block_stop\",\"index\":0}".utf8)
        return (blockIsOpen ? namedEvent("content_block_stop", end) : []) + namedEvent("message_delta", json.bytes)
            + namedEvent("message_stop", Array("{\"type\":\"message_stop\"}".utf8))
    }
}

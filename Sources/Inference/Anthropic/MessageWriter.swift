// The JSON of Anthropic's answers, field by field as its clients check them; whole ones here, MessageStream.swift streams.
internal import Core

package enum MessageWriter {
    /// Gathers a whole answer.
    package static func collector(_ head: AnswerHead, options: GenerationOptions) -> any AnswerBody {
        AnswerCollector(options) { message(head, $0[0], usage: $1) }
    }

    static func message(_ head: AnswerHead, _ choice: AnswerChoice, usage: TokenUsage) -> [UInt8] {
        var json = JSONWriter(reserving: 512 + choice.text.utf8.count)
        begin(&json, head)
        if let call = choice.call {
            toolUse(&json, name: call.name)
            // What max_tokens cut is no JSON, and nothing to call a function with.
            json.raw(bytes: choice.reason == "tool_calls" ? Array(call.arguments.utf8) : Array("{}".utf8))
            json.raw("}")
        } else if !choice.text.isEmpty {
            json.raw("{\"type\":\"text\",\"text\":")
            json.string(choice.text)
            json.raw("}")
        }
        json.raw("],")
        stop(&json, choice.reason ?? "stop", choice.stop)
        json.raw(",\"usage\":")
        self.usage(&json, usage)
        QuotaName.write(&json, choice.cutBy)
        json.raw("}")
        return json.bytes
    }

    /// `{"input_tokens"}` of a prompt that was counted.
    package struct Count: EventCollector {
        private var count = 0
        package private(set) var timings = GenerationTimings()

        package init() {}

        package mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>? {
            switch event {
            case .tokens(let tokens, _): count = tokens.count
            case .finished(_, _, let timings):
                self.timings = timings
                return .success(Array("{\"input_tokens\":\(count)}".utf8))
            case .failed(let error): return .failure(error)
            default: break
            }
            return nil
        }
    }

    // MARK: parts

    /// Everything up to the blocks.
    static func begin(_ json: inout JSONWriter, _ head: AnswerHead) {
        json.raw("{\"id\":")
        json.string(head.id)
        json.raw(",\"type\":\"message\",\"role\":\"assistant\",\"model\":")
        json.string(head.model)
        json.raw(",\"content\":[")
    }

    /// A call up to its input.
    static func toolUse(_ json: inout JSONWriter, name: String) {
        json.raw("{\"type\":\"tool_use\",\"id\":")
        json.string(ToolCallReader.newID("toolu_"))
        json.raw(",\"name\":")
        json.string(name)
        json.raw(",\"input\":")
    }

    /// - Parameter word: why it ended, as OpenAI says it.
    static func stop(_ json: inout JSONWriter, _ word: String, _ stop: String?) {
        json.raw("\"stop_reason\":")
        switch word {
        case "length": json.raw("\"max_tokens\"")
        case "tool_calls": json.raw("\"tool_use\"")
        default: json.raw(stop == nil ? "\"end_turn\"" : "\"stop_sequence\"")
        }
        json.raw(",\"stop_sequence\":")
        json.string(orNull: stop)
    }

    /// What was read again and what was kept are counted apart.
    static func usage(_ json: inout JSONWriter, _ usage: TokenUsage) {
        json.raw("{\"input_tokens\":")
        json.integer(usage.promptTokens - usage.cachedTokens)
        json.raw(",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":")
        json.integer(usage.cachedTokens)
        json.raw(",\"output_tokens\":")
        json.integer(usage.completionTokens)
        json.raw("}")
    }
}

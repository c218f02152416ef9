// What POST /v1/responses asks for, without a memory: OpenAI's newer body, read as the chat that a model serves.

package struct ResponsesRequest: Equatable, Sendable {
    package var chat: ChatRequest
    /// What the answer repeats of the request.
    package var echo: ResponsesEcho

    package init(_ body: Span<UInt8>, parser: inout JSONParser) throws(OpenAIError) {
        self = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            let fields = try RequestFields(root)
            let chat = try ChatRequest(responses: fields)
            return Self(chat: chat, echo: try ResponsesEcho(fields, chat.options))
        }
    }

    private init(chat: ChatRequest, echo: ResponsesEcho) {
        self.chat = chat
        self.echo = echo
    }
}

extension ChatRequest {
    fileprivate init(responses fields: RequestFields) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        try Self.refuseMemory(fields)
        try Self.refuseWhatIsNotOffered(fields)
        var history = try ResponsesInput.read(fields)
        var options = try GenerationOptions(responses: fields)
        let tools = try ToolUse(fields, .responses)
        try options.bind(to: Self.grammar(fields), named: "text", or: tools, telling: &history)
        self.init(model: model, messages: history.messages, options: options)
        user = try fields.string("user", maxBytes: RequestLimits.userBytes)
    }

    /// Nothing is kept between requests: what would be looked for later must not seem to be there.
    private static func refuseMemory(_ fields: RequestFields) throws(OpenAIError) {
        if try fields.bool("store") == true {
            throw .notOffered(
                "store", "answers are not kept; send false, and the whole conversation in input each time")
        }
        for field in ["previous_response_id", "conversation"] {
            try fields.refuse(field, "nothing is kept between requests; send the whole conversation in input")
        }
        try fields.refuse("prompt", "no prompts are kept; send instructions and input")
        if try fields.bool("background") == true { throw .notOffered("background", "send false, and stream true") }
    }

    private static func refuseWhatIsNotOffered(_ fields: RequestFields) throws(OpenAIError) {
        try fields.refuse("context_management", "leave it out")
        try fields.refuse("moderation", "leave it out")
        if try fields.word("truncation", of: ["disabled", "auto"]) == "auto" {
            throw .notOffered("truncation", "send \"disabled\", and drop old items yourself")
        }
        if let value = fields["reasoning"] {
            let effort = try RequestFields(value, path: "reasoning.").string("effort", maxBytes: 64)
            guard effort == nil || effort == "none" else {
                throw .notOffered("reasoning.effort", "models here don't reason; send \"none\" or leave it out")
            }
        }
        if let top = try fields.integer("top_logprobs", in: 0...20), top > 0 {
            throw .notOffered("top_logprobs", "use /v1/chat/completions")
        }
        try checkIncluded(fields)
        _ = try fields.integer("max_tool_calls", in: 1...RequestLimits.tokens)
        for field in ["safety_identifier", "prompt_cache_key"] {
            _ = try fields.string(field, maxBytes: RequestLimits.userBytes)
        }
        guard let options = fields["stream_options"] else { return }
        guard try fields.bool("stream") == true else {
            throw fields.wrong("stream_options", "only allowed when stream is true")
        }
        _ = try RequestFields(options, path: "stream_options.").bool("include_obfuscation")
    }

    /// Parts that an answer has only when tools made them are welcome to be asked for.
    private static func checkIncluded(_ fields: RequestFields) throws(OpenAIError) {
        let words = [
            "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
            "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
            "reasoning.encrypted_content",
        ]
        guard let value = fields["include"] else { return }
        guard value.kind == .array else { throw fields.wrong("include", "must be an array") }
        try value.forEachChild { (_, element) throws(OpenAIError) in
            guard element.string != "message.output_text.logprobs" else {
                throw .notOffered("include", "for logprobs use /v1/chat/completions")
            }
            guard let word = element.string, words.contains(word) else {
                throw fields.wrong("include", "must hold " + words.joined(separator: ", "))
            }
        }
    }

    private static func grammar(_ fields: RequestFields) throws(OpenAIError) -> String? {
        guard let value = fields["text"] else { return nil }
        let text = try RequestFields(value, path: "text.")
        _ = try text.word("verbosity", of: ["low", "medium", "high"])
        guard let value = text["format"] else { return nil }
        let format = try RequestFields(value, path: "text.format.")
        switch try format.word("type", of: ["text", "json_object", "json_schema"]) {
        case nil: throw .missing("text.format.type")
        case "json_object": return try ResponseFormat.object("text.format")
        case "json_schema": return try ResponseFormat.named(format, param: "text.format")
        default: return nil
        }
    }
}

extension GenerationOptions {
    fileprivate init(responses fields: RequestFields) throws(OpenAIError) {
        self.init()
        sampling = try Sampling(fields)
        maxTokens = try fields.integer("max_output_tokens", in: 1...RequestLimits.tokens).map(Int.init)
        stream = try fields.bool("stream") ?? false
        priority = try Self.priority(fields)
    }
}

// What POST /v1/messages and its count_tokens ask for: Anthropic's body, read as the chat that a model serves.

package struct MessagesRequest: Equatable, Sendable {
    package var chat: ChatRequest

    /// - Parameter counting: only tokens are to be counted, so nothing needs to say how many may come.
    package init(_ body: Span<UInt8>, parser: inout JSONParser, counting: Bool = false) throws(OpenAIError) {
        chat = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            try ChatRequest(messages: RequestFields(root), counting: counting)
        }
    }

    /// The prompt alone, to be counted.
    package func tokens(tenant: String) throws(OpenAIError) -> TokenizeRequest {
        let size = chat.messages.reduce(0) { $0 + $1.content.utf8.count }
        guard size <= TokenizeBody.maxBytes else {
            throw .invalid(
                "messages",
                "messages: \(size) bytes with system and tools, and at most \(TokenizeBody.maxBytes) are counted",
                code: "invalid_value")
        }
        return TokenizeRequest(tenant: tenant, turns: chat.messages)
    }
}

extension ChatRequest {
    fileprivate init(messages fields: RequestFields, counting: Bool) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        try Self.refuseWhatIsNotOffered(fields)
        var history = try MessagesHistory.read(fields)
        var options = try GenerationOptions(messages: fields, counting: counting)
        try options.bind(
            to: Self.grammar(fields), named: "output_config", or: ToolUse(fields, .messages), telling: &history)
        self.init(model: model, messages: history.messages, options: options)
        if let metadata = fields["metadata"] {
            user = try RequestFields(metadata, path: "metadata.").string("user_id", maxBytes: RequestLimits.userBytes)
        }
    }

    private static func refuseWhatIsNotOffered(_ fields: RequestFields) throws(OpenAIError) {
        try fields.refuse("mcp_servers", "leave it out")
        try fields.refuse("container", "leave it out")
        try fields.refuse("context_management", "leave it out")
        if let thinking = fields["thinking"] {
            let mode = try RequestFields(thinking, path: "thinking.").string("type", maxBytes: 64)
            // A model that never thinks is what "adaptive" may come to.
            guard mode == "disabled" || mode == "adaptive" else {
                throw .notOffered("thinking", "send {\"type\":\"disabled\"} or leave it out")
            }
        }
        _ = try fields.word("service_tier", of: ["auto", "standard_only"])
    }

    private static func grammar(_ fields: RequestFields) throws(OpenAIError) -> String? {
        guard let value = fields["output_config"] else { return nil }
        let config = try RequestFields(value, path: "output_config.")
        guard let value = config["format"] else { return nil }
        let format = try RequestFields(value, path: "output_config.format.")
        guard try format.word("type", of: ["json_schema"]) != nil else { throw .missing(format.name(of: "type")) }
        return try ResponseFormat.schema(format, param: "output_config")
    }
}

extension GenerationOptions {
    fileprivate init(messages fields: RequestFields, counting: Bool) throws(OpenAIError) {
        self.init()
        let most = try fields.integer("max_tokens", in: 1...RequestLimits.tokens)
        guard most != nil || counting else { throw .missing("max_tokens") }
        maxTokens = most.map(Int.init)
        sampling = try Sampling(messages: fields)
        guard fields["stop_sequences"]?.string == nil else {
            throw fields.wrong("stop_sequences", "must be an array of strings")
        }
        stop = try Self.stop(fields, "stop_sequences")
        stream = try fields.bool("stream") ?? false
    }
}

extension Sampling {
    /// As all fields of ours, but Anthropic's temperature ends at 1.
    fileprivate init(messages fields: RequestFields) throws(OpenAIError) {
        _ = try fields.number("temperature", in: 0...1)
        _ = try fields.integer("top_k", in: 0...1_000_000)
        try self.init(fields)
    }
}

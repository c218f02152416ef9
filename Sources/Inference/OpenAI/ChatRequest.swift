// What POST /v1/chat/completions asks for, read from its body; InferenceService runs it.

/// One turn of a chat.
package struct ChatMessage: Equatable, Sendable {
    package var role: String
    package var content: String

    package init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}

package struct ChatRequest: Equatable, Sendable {
    package var model: String
    package var messages: [ChatMessage]
    package var options: GenerationOptions
    package var user: String?

    package init(model: String, messages: [ChatMessage], options: GenerationOptions = GenerationOptions()) {
        self.model = model
        self.messages = messages
        self.options = options
    }

    package init(_ body: Span<UInt8>, parser: inout JSONParser) throws(OpenAIError) {
        self = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            try ChatRequest(RequestFields(root))
        }
    }
}

/// The longest names and texts that requests may carry; whole bodies have their own limit at the door.
enum RequestLimits {
    static let modelBytes = 256
    static let userBytes = 512
    static let messages = 4096
    static let contentBytes = 4 * 1024 * 1024
    /// More than any context, and small enough to add up without overflow.
    static let tokens: Int64 = 100_000_000
}

extension ChatRequest {
    private init(_ fields: RequestFields) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        self.model = model
        user = try fields.string("user", maxBytes: RequestLimits.userBytes)
        var history = try ChatHistory(fields)
        options = try GenerationOptions(fields)
        try fields.refuse("functions", "use tools")
        try fields.refuse("function_call", "use tool_choice")
        let grammar = try ResponseFormat.grammar(fields)
        try options.bind(to: grammar, named: "response_format", or: ToolUse(fields, .chat), telling: &history)
        messages = history.messages
        options.maxTokens = try Self.maxTokens(fields)
        options.wantLogprobs = try fields.bool("logprobs") ?? false
        if let top = try fields.integer("top_logprobs", in: 0...20) {
            guard options.wantLogprobs else { throw fields.wrong("top_logprobs", "only allowed when logprobs is true") }
            options.topLogprobs = Int(top)
        }
    }

    private static func maxTokens(_ fields: RequestFields) throws(OpenAIError) -> Int? {
        let new = try fields.integer("max_completion_tokens", in: 1...RequestLimits.tokens)
        let old = try fields.integer("max_tokens", in: 1...RequestLimits.tokens)
        if let new, let old, new != old {
            throw fields.wrong("max_tokens", "max_completion_tokens says something else; send one of them")
        }
        return (new ?? old).map(Int.init)
    }
}

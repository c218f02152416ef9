// What POST /v1/completions asks for: plain text in, its continuation out.

package struct CompletionRequest: Equatable, Sendable {
    package var model: String
    package var prompt: String
    package var options: GenerationOptions
    package var user: String?

    package init(model: String, prompt: String, options: GenerationOptions = GenerationOptions()) {
        self.model = model
        self.prompt = prompt
        self.options = options
    }

    package init(_ body: Span<UInt8>, parser: inout JSONParser) throws(OpenAIError) {
        self = try parser.read(body, refuse: OpenAIError.notJSON) { (root) throws(OpenAIError) in
            try CompletionRequest(RequestFields(root))
        }
    }
}

extension CompletionRequest {
    /// What OpenAI gives when the client doesn't say.
    static let defaultMaxTokens = 16

    private init(_ fields: RequestFields) throws(OpenAIError) {
        guard let model = try fields.string("model", maxBytes: RequestLimits.modelBytes) else {
            throw .missing("model")
        }
        self.model = model
        user = try fields.string("user", maxBytes: RequestLimits.userBytes)
        prompt = try Self.prompt(fields)
        options = try GenerationOptions(fields)
        let maxTokens = try fields.integer("max_tokens", in: 1...RequestLimits.tokens)
        options.maxTokens = maxTokens.map(Int.init) ?? Self.defaultMaxTokens
        if let top = try fields.integer("logprobs", in: 0...5) {
            options.wantLogprobs = true
            options.topLogprobs = Int(top)
        }
        try fields.refuse("tools", "use /v1/chat/completions")
        guard try ResponseFormat.grammar(fields) == nil else {
            throw .notOffered("response_format", "use /v1/chat/completions")
        }
        if try fields.bool("echo") == true { throw .notOffered("echo", "leave it out") }
        if let best = try fields.integer("best_of", in: 0...20), best > 1 { throw .notOffered("best_of", "send 1") }
        if let suffix = try fields.string("suffix", maxBytes: RequestLimits.contentBytes), !suffix.isEmpty {
            throw .notOffered("suffix", "leave it out")
        }
    }

    private static func prompt(_ fields: RequestFields) throws(OpenAIError) -> String {
        guard let value = fields["prompt"] else { throw .missing("prompt") }
        if value.kind == .array {
            var texts: [String?] = []
            value.forEachChild { _, element in if texts.count < 2 { texts.append(element.string) } }
            guard texts.count == 1, let text = texts[0] else {
                throw .notOffered("prompt", "send one string; token numbers and several prompts are not read")
            }
            return try checked(text, fields)
        }
        guard let text = value.string else { throw fields.wrong("prompt", "must be a string") }
        return try checked(text, fields)
    }

    private static func checked(_ text: String, _ fields: RequestFields) throws(OpenAIError) -> String {
        guard !text.isEmpty else { throw fields.wrong("prompt", "must not be empty") }
        guard text.utf8.count <= RequestLimits.contentBytes else {
            throw fields.wrong("prompt", "longer than \(RequestLimits.contentBytes) bytes")
        }
        return text
    }
}

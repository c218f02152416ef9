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
        messages = try Self.messages(fields)
        options = try GenerationOptions(fields)
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

    private static func messages(_ fields: RequestFields) throws(OpenAIError) -> [ChatMessage] {
        guard let value = fields["messages"] else { throw .missing("messages") }
        guard value.kind == .array else { throw fields.wrong("messages", "must be an array") }
        guard (1...RequestLimits.messages).contains(value.count) else {
            throw fields.wrong("messages", "must hold from 1 to \(RequestLimits.messages) messages")
        }
        var messages: [ChatMessage] = []
        messages.reserveCapacity(value.count)
        try value.forEachChild { (_, element) throws(OpenAIError) in
            messages.append(try message(RequestFields(element, path: "messages[\(messages.count)].")))
        }
        return messages
    }

    private static func message(_ fields: RequestFields) throws(OpenAIError) -> ChatMessage {
        guard let role = try fields.string("role", maxBytes: 64) else { throw .missing(fields.name(of: "role")) }
        try fields.refuse("tool_calls", "send text turns only")
        try fields.refuse("function_call", "send text turns only")
        switch role {
        case "system", "user", "assistant", "tool": break
        case "developer": return ChatMessage(role: "system", content: try content(fields, role))
        default: throw fields.wrong("role", "must be system, developer, user, assistant or tool")
        }
        return ChatMessage(role: role, content: try content(fields, role))
    }

    private static func content(_ fields: RequestFields, _ role: String) throws(OpenAIError) -> String {
        guard let value = fields["content"] else {
            // An assistant turn may be empty; clients send null for it.
            if role == "assistant" { return "" }
            throw .missing(fields.name(of: "content"))
        }
        var text = ""
        if value.kind == .array {
            var index = 0
            try value.forEachChild { (_, part) throws(OpenAIError) in
                text += try self.text(of: part, path: fields.name(of: "content[\(index)]."))
                index += 1
            }
        } else if let string = value.string {
            text = string
        } else {
            throw fields.wrong("content", "must be a string or an array of parts")
        }
        guard text.utf8.count <= RequestLimits.contentBytes else {
            throw fields.wrong("content", "longer than \(RequestLimits.contentBytes) bytes")
        }
        return text
    }

    private static func text(of part: JSONNode, path: String) throws(OpenAIError) -> String {
        let fields = try RequestFields(part, path: path)
        let type = try fields.string("type", maxBytes: 64)
        guard type == "text" else { throw .notOffered(fields.name(of: "type"), "only parts of type \"text\" are") }
        guard let text = try fields.string("text", maxBytes: RequestLimits.contentBytes) else {
            throw .missing(fields.name(of: "text"))
        }
        return text
    }
}

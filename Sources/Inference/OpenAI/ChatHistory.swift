// The turns of a chat as the model reads them: calls and results of functions become text; ChatRequest.swift asks for it.

/// Reads `messages`. Models know only system, user and assistant, whatever their template.
struct ChatHistory {
    private(set) var messages: [ChatMessage] = []
    /// The functions called so far, by the id of the call.
    private var calls: [String: String] = [:]

    init(_ fields: RequestFields) throws(OpenAIError) {
        guard let value = fields["messages"] else { throw .missing("messages") }
        guard value.kind == .array else { throw fields.wrong("messages", "must be an array") }
        guard (1...RequestLimits.messages).contains(value.count) else {
            throw fields.wrong("messages", "must hold from 1 to \(RequestLimits.messages) messages")
        }
        messages.reserveCapacity(value.count)
        var read: [ChatMessage] = []
        var history = self
        try value.forEachChild { (_, element) throws(OpenAIError) in
            read.append(try history.message(RequestFields(element, path: "messages[\(read.count)].")))
        }
        messages = read
    }

    /// Turns that were read elsewhere; there is one at least.
    init(_ messages: [ChatMessage]) { self.messages = messages }

    /// Adds what the model must know to its system turn.
    mutating func instruct(_ text: String) {
        if messages[0].role == "system" {
            messages[0].content += (messages[0].content.isEmpty ? "" : "\n\n") + text
        } else {
            messages.insert(ChatMessage(role: "system", content: text), at: 0)
        }
    }

    // MARK: turns

    private mutating func message(_ fields: RequestFields) throws(OpenAIError) -> ChatMessage {
        guard let role = try fields.string("role", maxBytes: 64) else { throw .missing(fields.name(of: "role")) }
        try fields.refuse("function_call", "use tool_calls")
        if role != "assistant" { try fields.refuse("tool_calls", "only assistant turns have them") }
        switch role {
        case "system", "user": return ChatMessage(role: role, content: try Self.content(fields, role))
        case "developer": return ChatMessage(role: "system", content: try Self.content(fields, role))
        case "assistant":
            let content = try Self.content(fields, role)
            let calls = try toolCalls(fields)
            return ChatMessage(role: role, content: ([content] + calls).filter { !$0.isEmpty }.joined(separator: "\n"))
        case "tool": return try result(fields)
        default: throw fields.wrong("role", "must be system, developer, user, assistant or tool")
        }
    }

    /// Each call as the model wrote it.
    private mutating func toolCalls(_ fields: RequestFields) throws(OpenAIError) -> [String] {
        guard let value = fields["tool_calls"] else { return [] }
        guard value.kind == .array, value.count <= ToolUse.maxTools else {
            throw fields.wrong("tool_calls", "must be an array of at most \(ToolUse.maxTools) calls")
        }
        var texts: [String] = []
        var found = calls
        try value.forEachChild { (_, element) throws(OpenAIError) in
            let path = fields.name(of: "tool_calls[\(texts.count)].")
            let call = try RequestFields(element, path: path)
            guard let id = try call.string("id", maxBytes: 256) else { throw .missing(path + "id") }
            let type = try call.string("type", maxBytes: 64) ?? "function"
            guard type == "function" else { throw .notOffered(path + "type", "only type \"function\" is") }
            guard let value = call["function"] else { throw .missing(path + "function") }
            let function = try RequestFields(value, path: path + "function.")
            let name = try Self.functionName(function)
            guard let arguments = try function.string("arguments", maxBytes: RequestLimits.contentBytes) else {
                throw .missing(function.name(of: "arguments"))
            }
            found[id] = name
            texts.append(Self.call(of: name, arguments))
        }
        calls = found
        return texts
    }

    private func result(_ fields: RequestFields) throws(OpenAIError) -> ChatMessage {
        guard let id = try fields.string("tool_call_id", maxBytes: 256) else {
            throw .missing(fields.name(of: "tool_call_id"))
        }
        guard let name = calls[id] else {
            throw fields.wrong("tool_call_id", "no tool_calls before it have this id")
        }
        return ChatMessage(role: "user", content: Self.result(of: name, try Self.content(fields, "tool")))
    }

    private static func content(_ fields: RequestFields, _ role: String) throws(OpenAIError) -> String {
        if let text = try fields.text("content", types: ["text"]) { return text }
        // An assistant turn may be empty; clients send null for it.
        guard role == "assistant" else { throw .missing(fields.name(of: "content")) }
        return ""
    }

    // MARK: what every API writes down in its own way

    /// A call as the model wrote it.
    static func call(of name: String, _ arguments: String) -> String {
        ToolCallReader.opening + name + ToolCallReader.middle + (arguments.isEmpty ? "{}" : arguments) + "}"
    }

    /// What a function gave, as a turn of the user: many templates know no other.
    static func result(of name: String, _ content: String, isError: Bool = false) -> String {
        (isError ? "Error of \(name):\n" : "Result of \(name):\n") + content
    }

    /// The name of a function in a call.
    static func functionName(_ fields: RequestFields) throws(OpenAIError) -> String {
        guard let name = try fields.string("name", maxBytes: 256) else { throw .missing(fields.name(of: "name")) }
        guard RequestLimits.isName(name) else {
            throw fields.wrong("name", "must be letters, digits, _ and -, at most 64")
        }
        return name
    }
}

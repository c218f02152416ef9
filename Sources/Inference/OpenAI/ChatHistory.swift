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
            guard let name = try function.string("name", maxBytes: 256) else {
                throw .missing(function.name(of: "name"))
            }
            guard RequestLimits.isName(name) else {
                throw function.wrong("name", "must be letters, digits, _ and -, at most 64")
            }
            guard let arguments = try function.string("arguments", maxBytes: RequestLimits.contentBytes) else {
                throw .missing(function.name(of: "arguments"))
            }
            found[id] = name
            texts.append(
                ToolCallReader.opening + name + ToolCallReader.middle + (arguments.isEmpty ? "{}" : arguments) + "}")
        }
        calls = found
        return texts
    }

    /// What a function gave, as a turn of the user: many templates know no other.
    private func result(_ fields: RequestFields) throws(OpenAIError) -> ChatMessage {
        guard let id = try fields.string("tool_call_id", maxBytes: 256) else {
            throw .missing(fields.name(of: "tool_call_id"))
        }
        guard let name = calls[id] else {
            throw fields.wrong("tool_call_id", "no tool_calls before it have this id")
        }
        return ChatMessage(role: "user", content: "Result of \(name):\n" + (try Self.content(fields, "tool")))
    }

    // MARK: content

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

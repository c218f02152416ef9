// The turns of Anthropic's `system` and `messages` as the model reads them; MessagesRequest.swift asks for it.

enum MessagesHistory {
    static func read(_ fields: RequestFields) throws(OpenAIError) -> ChatHistory {
        var messages: [ChatMessage] = []
        if let system = try fields.text("system", types: ["text"], separator: "\n\n"), !system.isEmpty {
            messages.append(ChatMessage(role: "system", content: system))
        }
        guard let turns = try fields.objects("messages", atMost: RequestLimits.messages) else {
            throw .missing("messages")
        }
        guard !turns.isEmpty else { throw fields.wrong("messages", "must hold a message at least") }
        var calls: [String: String] = [:]
        for turn in turns { messages.append(try message(turn, &calls)) }
        guard messages.last?.role != "assistant" else {
            throw .notOffered(
                "messages", "beginning the answer by a last turn of the assistant is not; end with a user's")
        }
        return ChatHistory(messages)
    }

    /// - Parameter calls: the names of the functions called so far, by the id of the call.
    private static func message(
        _ turn: RequestFields, _ calls: inout [String: String]
    ) throws(OpenAIError) -> ChatMessage {
        guard let role = try turn.word("role", of: ["user", "assistant", "system"]) else {
            throw .missing(turn.name(of: "role"))
        }
        guard let content = turn["content"] else { throw .missing(turn.name(of: "content")) }
        guard content.kind == .array, role != "system" else {
            return ChatMessage(role: role, content: try turn.text("content", types: ["text"]) ?? "")
        }
        var texts: [String] = []
        for block in try turn.objects("content", atMost: RequestLimits.messages) ?? [] {
            guard let type = try block.string("type", maxBytes: 64) else { throw .missing(block.name(of: "type")) }
            if let text = try text(of: block, type, role, &calls) { texts.append(text) }
        }
        let text = texts.joined(separator: "\n")
        guard text.utf8.count <= RequestLimits.contentBytes else {
            throw turn.wrong("content", "longer than \(RequestLimits.contentBytes) bytes")
        }
        return ChatMessage(role: role, content: text)
    }

    /// Nil: the block says nothing to a model.
    private static func text(
        of block: RequestFields, _ type: String, _ role: String, _ calls: inout [String: String]
    ) throws(OpenAIError) -> String? {
        switch (role, type) {
        case (_, "text"): return try block.partText(["text"])
        case ("assistant", "tool_use"): return try call(block, &calls)
        // Of another model: ours have no use for it.
        case ("assistant", "thinking"), ("assistant", "redacted_thinking"): return nil
        case ("user", "tool_result"): return try result(block, calls)
        default:
            let offered = role == "user" ? "text and tool_result" : "text and tool_use"
            throw .notOffered(
                block.name(of: "type"), "\"\(type)\" can't be read; blocks of the \(role) are \(offered)")
        }
    }

    private static func call(_ block: RequestFields, _ calls: inout [String: String]) throws(OpenAIError) -> String {
        guard let id = try block.string("id", maxBytes: 256) else { throw .missing(block.name(of: "id")) }
        let name = try ChatHistory.functionName(block)
        guard let input = block["input"] else { throw .missing(block.name(of: "input")) }
        guard input.kind == .object else { throw block.wrong("input", "must be an object") }
        calls[id] = name
        return ChatHistory.call(of: name, input.text)
    }

    private static func result(_ block: RequestFields, _ calls: [String: String]) throws(OpenAIError) -> String {
        guard let id = try block.string("tool_use_id", maxBytes: 256) else {
            throw .missing(block.name(of: "tool_use_id"))
        }
        guard let name = calls[id] else { throw block.wrong("tool_use_id", "no tool_use before it has this id") }
        let isError = try block.bool("is_error") ?? false
        let content = try block.text("content", types: ["text"], separator: "\n") ?? ""
        return ChatHistory.result(of: name, content, isError: isError)
    }
}

// The items of `input` and `instructions` as the model reads them; ResponsesRequest.swift asks for it.

enum ResponsesInput {
    static func read(_ fields: RequestFields) throws(OpenAIError) -> ChatHistory {
        var turns: [ChatMessage] = []
        if let text = try fields.string("instructions", maxBytes: RequestLimits.contentBytes), !text.isEmpty {
            turns.append(ChatMessage(role: "system", content: text))
        }
        guard let input = fields["input"] else { throw .missing("input") }
        if let text = try input.kind == .string ? fields.string("input", maxBytes: RequestLimits.contentBytes) : nil {
            return ChatHistory(turns + [ChatMessage(role: "user", content: text)])
        }
        guard input.kind == .array else { throw fields.wrong("input", "must be a string or an array of items") }
        let before = turns.count
        var calls: [String: String] = [:]
        for item in try fields.objects("input", atMost: RequestLimits.messages) ?? [] { try read(item, &turns, &calls) }
        guard turns.count > before else { throw fields.wrong("input", "must hold something to answer") }
        return ChatHistory(turns)
    }

    /// - Parameter calls: the names of the functions called so far, by the id of the call.
    private static func read(
        _ item: RequestFields, _ turns: inout [ChatMessage], _ calls: inout [String: String]
    ) throws(OpenAIError) {
        // Messages may leave their type out.
        let type = try item.string("type", maxBytes: 64)
        guard type != nil || item["role"] != nil else { throw .missing(item.name(of: "type")) }
        switch type ?? "message" {
        case "message": turns.append(try message(item))
        case "function_call": try call(item, &turns, &calls)
        case "function_call_output":
            let id = try Self.id(item)
            guard let name = calls[id] else { throw item.wrong("call_id", "no function_call before it has this id") }
            guard let output = try item.text("output", types: ["input_text"], separator: "\n") else {
                throw .missing(item.name(of: "output"))
            }
            turns.append(ChatMessage(role: "user", content: ChatHistory.result(of: name, output)))
        // Of another model: ours have no use for it.
        case "reasoning": return
        case "item_reference":
            throw .notOffered(item.name(of: "type"), "answers are not kept; send the item itself")
        default:
            throw .notOffered(item.name(of: "type"), "only message, function_call and function_call_output are read")
        }
    }

    private static func message(_ item: RequestFields) throws(OpenAIError) -> ChatMessage {
        guard let role = try item.word("role", of: ["user", "assistant", "system", "developer"]) else {
            throw .missing(item.name(of: "role"))
        }
        let types = role == "assistant" ? ["output_text", "input_text"] : ["input_text"]
        guard let text = try item.text("content", types: types) else { throw .missing(item.name(of: "content")) }
        return ChatMessage(role: role == "developer" ? "system" : role, content: text)
    }

    /// Belongs to the assistant's turn before it, when there is one.
    private static func call(
        _ item: RequestFields, _ turns: inout [ChatMessage], _ calls: inout [String: String]
    ) throws(OpenAIError) {
        let id = try Self.id(item)
        let name = try ChatHistory.functionName(item)
        guard let arguments = try item.string("arguments", maxBytes: RequestLimits.contentBytes) else {
            throw .missing(item.name(of: "arguments"))
        }
        calls[id] = name
        let text = ChatHistory.call(of: name, arguments)
        if let last = turns.indices.last, turns[last].role == "assistant" {
            turns[last].content += turns[last].content.isEmpty ? text : "\n" + text
        } else {
            turns.append(ChatMessage(role: "assistant", content: text))
        }
    }

    private static func id(_ item: RequestFields) throws(OpenAIError) -> String {
        guard let id = try item.string("call_id", maxBytes: 256) else { throw .missing(item.name(of: "call_id")) }
        return id
    }
}

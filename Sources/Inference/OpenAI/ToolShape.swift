// How the three APIs write functions and the choice among them; ToolUse.swift makes of them what a model can do.

/// Which of the functions may be called.
struct ToolChoice {
    /// Nil: any.
    var name: String?
    /// The answer must be a call.
    var isForced: Bool
}

enum ToolShape {
    /// `/v1/chat/completions`
    case chat
    /// `/v1/responses`
    case responses
    /// `/v1/messages`
    case messages

    /// The field with the schema of the arguments.
    var parameters: String { self == .messages ? "input_schema" : "parameters" }

    /// Where name, description and schema of a tool stand.
    func function(_ tool: RequestFields) throws(OpenAIError) -> RequestFields {
        let type = try tool.string("type", maxBytes: 64)
        if self == .messages {
            guard type == nil || type == "custom" else {
                throw .notOffered(tool.name(of: "type"), "only tools with an input_schema are")
            }
            guard tool["input_schema"] != nil else { throw .missing(tool.name(of: "input_schema")) }
            return tool
        }
        guard let type else { throw .missing(tool.name(of: "type")) }
        guard type == "function" else { throw .notOffered(tool.name(of: "type"), "only type \"function\" is") }
        guard self == .chat else { return tool }
        guard let value = tool["function"] else { throw .missing(tool.name(of: "function")) }
        return try RequestFields(value, path: tool.name(of: "function."))
    }

    /// Nil: no function may be called.
    func choice(_ fields: RequestFields, among names: [String]) throws(OpenAIError) -> ToolChoice? {
        guard let value = fields["tool_choice"] else { return names.isEmpty ? nil : ToolChoice(isForced: false) }
        let choice = try self == .messages ? messagesChoice(fields, value) : openAIChoice(fields, value)
        guard let choice else { return nil }
        guard !names.isEmpty else { throw fields.wrong("tool_choice", "only allowed when tools are given") }
        if let name = choice.name, !names.contains(name) {
            throw fields.wrong("tool_choice", "names no function of tools")
        }
        return choice
    }

    private func openAIChoice(_ fields: RequestFields, _ value: JSONNode) throws(OpenAIError) -> ToolChoice? {
        switch value.string {
        case "none": return nil
        case "auto": return ToolChoice(isForced: false)
        case "required": return ToolChoice(isForced: true)
        case .some: throw fields.wrong("tool_choice", "must be none, auto, required or a function")
        case nil: break
        }
        let choice = try RequestFields(value, path: "tool_choice.")
        let named = try choice.string("type", maxBytes: 64) == "function"
        var function: RequestFields? = choice
        if self == .chat {
            function = nil
            if let inner = choice["function"] { function = try RequestFields(inner, path: "tool_choice.function.") }
        }
        guard named, let name = try function?.string("name", maxBytes: 256) else {
            let example = self == .chat ? "\"function\":{\"name\":…}" : "\"name\":…"
            throw fields.wrong("tool_choice", "must be none, auto, required or {\"type\":\"function\",\(example)}")
        }
        return ToolChoice(name: name, isForced: true)
    }

    private func messagesChoice(_ fields: RequestFields, _ value: JSONNode) throws(OpenAIError) -> ToolChoice? {
        let choice = try RequestFields(value, path: "tool_choice.")
        // One call at a time is what is given.
        _ = try choice.bool("disable_parallel_tool_use")
        switch try choice.word("type", of: ["auto", "any", "tool", "none"]) {
        case "none": return nil
        case "auto": return ToolChoice(isForced: false)
        case "any": return ToolChoice(isForced: true)
        case nil: throw .missing("tool_choice.type")
        default: break
        }
        guard let name = try choice.string("name", maxBytes: 256) else { throw .missing("tool_choice.name") }
        return ToolChoice(name: name, isForced: true)
    }
}

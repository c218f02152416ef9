// The functions that a model may call: read from `tools`, told to the model in its prompt, and made sure of by a grammar.

/// How an answer is to be read.
package enum AnswerForm: Equatable, Sendable {
    case text
    /// A call of a function.
    case call
    /// A call when it begins with "{", else text.
    case callOrText
}

struct ToolUse {
    static let maxTools = 128

    private struct Tool {
        var name: String
        /// What the model is told: name, description and parameters, as JSON.
        var text: String
        var arguments: GrammarExpression
    }

    private(set) var form = AnswerForm.text
    private(set) var grammar: String?
    /// What the model is told; nil: nothing.
    private(set) var instructions: String?

    init(_ fields: RequestFields, _ shape: ToolShape) throws(OpenAIError) {
        // One call at a time is what is given, whether several would be welcome or not.
        _ = try fields.bool("parallel_tool_calls")
        var grammar = Grammar()
        let tools = try Self.tools(fields, shape, &grammar)
        guard let choice = try shape.choice(fields, among: tools.map(\.name)) else { return }
        let callable = tools.filter { choice.name == nil || $0.name == choice.name }
        form = choice.isForced ? .call : .callOrText
        instructions = Self.instructions(callable, choice.isForced)
        do throws(GrammarRefusal) {
            self.grammar = try grammar.text(root: Self.root(callable, form))
        } catch {
            throw .invalid("tools", "tools: \(error.message)", code: "invalid_function_parameters")
        }
    }

    // MARK: reading

    private static func tools(
        _ fields: RequestFields, _ shape: ToolShape, _ grammar: inout Grammar
    ) throws(OpenAIError) -> [Tool] {
        var tools: [Tool] = []
        var values = JSONGrammar()
        for described in try fields.objects("tools", atMost: maxTools) ?? [] {
            let function = try shape.function(described)
            let tool = try tool(function, shape, &grammar, &values)
            guard !tools.contains(where: { $0.name == tool.name }) else {
                throw function.wrong("name", "another tool has this name")
            }
            tools.append(tool)
        }
        return tools
    }

    private static func tool(
        _ function: RequestFields, _ shape: ToolShape, _ grammar: inout Grammar, _ values: inout JSONGrammar
    ) throws(OpenAIError) -> Tool {
        let name = try ChatHistory.functionName(function)
        let description = try function.string("description", maxBytes: RequestLimits.contentBytes)
        _ = try function.bool("strict")
        var text = "{\"name\": " + SchemaCompiler.quoted(name)
        if let description { text += ", \"description\": " + SchemaCompiler.quoted(description) }
        var arguments = GrammarExpression.literal("{}")
        if let parameters = function[shape.parameters] {
            arguments = try self.arguments(parameters, function.name(of: shape.parameters), &grammar, &values)
            text += ", \"parameters\": " + parameters.text
        }
        return Tool(name: name, text: text + "}", arguments: arguments)
    }

    private static func arguments(
        _ parameters: JSONNode, _ path: String, _ grammar: inout Grammar, _ values: inout JSONGrammar
    ) throws(OpenAIError) -> GrammarExpression {
        do throws(GrammarRefusal) {
            // Clients send {} for a function without parameters.
            if parameters.kind == .object, parameters.count == 0 { return .literal("{}") }
            guard try SchemaNode(parameters, path: path)["type"]?.string == "object" else {
                throw GrammarRefusal(path: path + ".type", message: "must be \"object\"")
            }
            return try SchemaCompiler.compile(parameters, path: path, into: &grammar, &values)
        } catch {
            let place = error.path.isEmpty ? path : error.path
            throw .invalid(place, "\(place): \(error.message)", code: "invalid_function_parameters")
        }
    }

    // MARK: what the model is told, and what it may write

    private static func instructions(_ tools: [Tool], _ isForced: Bool) -> String {
        "You can call these functions:\n" + tools.map(\.text).joined(separator: "\n")
            + "\nTo call a function, answer with one JSON object and nothing else: "
            + "{\"name\": \"<function>\", \"arguments\": {<its arguments>}}\n"
            + (isForced ? "You must call a function now." : "When no function helps, answer in plain text.")
    }

    private static func root(_ tools: [Tool], _ form: AnswerForm) -> GrammarExpression {
        let calls = tools.map { tool in
            GrammarExpression.joined([
                .literal(ToolCallReader.opening + tool.name + ToolCallReader.middle), tool.arguments, .literal("}"),
            ])
        }
        guard form == .callOrText else { return .choice(calls) }
        let first = ScalarSet.everything.subtracting(ScalarSet("{ \n\r\t"))
        let text = GrammarExpression.sequence([
            .scalar(first), .repeated(.scalar(.everything), least: 0, most: nil),
        ])
        return .choice(calls + [.optional(text)])
    }
}

extension JSONNode {
    /// The value as JSON, spaced as answers are.
    var text: String {
        switch kind {
        case .null: return "null"
        case .boolean: return bool == true ? "true" : "false"
        case .integer, .number: return digits ?? "0"
        case .string: return SchemaCompiler.quoted(string ?? "")
        case .array, .object:
            var parts: [String] = []
            forEachChild { key, child in parts.append((key.map { SchemaCompiler.quoted($0) + ": " } ?? "") + child.text)
            }
            let inside = parts.joined(separator: ", ")
            return kind == .array ? "[\(inside)]" : "{\(inside)}"
        }
    }
}

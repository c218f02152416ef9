// Functions that models call: what is read, what the model is told, and how its call is taken apart.
@testable import Inference
import Testing

private let weather = #"""
    {"type":"function","function":{"name":"get_weather","description":"Weather \"now\"","strict":true,"parameters":
    {"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":9}},
    "required":["city"],"additionalProperties":false}}}
    """#

private func body(_ fields: String, messages: String = #"{"role":"user","content":"x"}"#) -> String {
    #"{"model":"m","messages":[\#(messages)],\#(fields)}"#
}

@Test func functionsAreToldToTheModelAndHeldByAGrammar() throws {
    let time = #"{"type":"function","function":{"name":"time"}}"#
    let request = try chatRequest(body(#""tools":[\#(weather),\#(time)],"tool_choice":"required""#))
    #expect(request.options.form == .call)
    #expect(request.messages.map(\.role) == ["system", "user"])
    #expect(
        request.messages[0].content.contains(
            #"{"name": "get_weather", "description": "Weather \"now\"", "parameters": {"type": "object", "properties": {"city""#
        ))
    let grammar = try GBNF(try #require(request.options.grammar))
    #expect(grammar.spells(#"{"name": "get_weather", "arguments": {"city": "Bonn", "days": 3}}"#))
    #expect(grammar.spells(#"{"name": "time", "arguments": {}}"#))
    for text in ["", "Hello", #"{"name": "time", "arguments": {"a": 1}}"#, #"{"name": "other", "arguments": {}}"#] {
        #expect(!grammar.spells(text), "\(text)")
    }
}

@Test func choicesDecideWhatMayBeWritten() throws {
    let free = try chatRequest(body(#""tools":[\#(weather)],"parallel_tool_calls":false"#))
    let either = try GBNF(try #require(free.options.grammar))
    #expect(free.options.form == .callOrText)
    #expect(
        either.spells("") && either.spells("Hello {you}\n")
            && either.spells(#"{"name": "get_weather", "arguments": {"city": "B"}}"#))
    #expect(!either.spells("{") && !either.spells(#"{"name": "x"}"#) && !either.spells(" {}"))
    let none = try chatRequest(
        body(#""tools":[\#(weather)],"tool_choice":"none","response_format":{"type":"json_object"}"#))
    #expect(none.options.form == .text && none.messages.count == 1 && none.options.grammar != nil)
    let named = try chatRequest(
        body(#""tools":[\#(weather)],"tool_choice":{"type":"function","function":{"name":"get_weather"}}"#))
    #expect(named.options.form == .call)
}

@Test(arguments: [
    (#""tools":{}"#, "tools"), (#""tools":[1]"#, "tools[0]"), (#""tools":[{}]"#, "tools[0].type"),
    (#""tools":[{"type":"retrieval"}]"#, "tools[0].type"), (#""tools":[{"type":"function"}]"#, "tools[0].function"),
    (#""tools":[{"type":"function","function":{}}]"#, "tools[0].function.name"),
    (#""tools":[{"type":"function","function":{"name":"a b"}}]"#, "tools[0].function.name"),
    (
        #""tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]"#,
        "tools[1].function.name"
    ),
    (
        #""tools":[{"type":"function","function":{"name":"a","parameters":{"type":"string"}}}]"#,
        "tools[0].function.parameters.type"
    ),
    (
        #""tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{"b":{"multipleOf":2}}}}}]"#,
        "tools[0].function.parameters.properties.b.multipleOf"
    ),
    (#""tool_choice":"required""#, "tool_choice"), (#""tools":[\#(weather)],"tool_choice":"any""#, "tool_choice"),
    (#""tools":[\#(weather)],"tool_choice":{"type":"function","function":{"name":"x"}}"#, "tool_choice"),
    (#""tools":[\#(weather)],"response_format":{"type":"json_object"}"#, "response_format"),
    (#""parallel_tool_calls":1"#, "parallel_tool_calls"),
])
func badToolsAreRefusedByName(_ fields: String, _ param: String) {
    let error = refusal(body(fields))
    #expect(error?.status == 400 && error?.param == param, "\(String(describing: error))")
}

@Test func callsAndResultsInTheHistoryBecomeText() throws {
    let messages = #"""
        {"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",
        "function":{"name":"f","arguments":"{\"a\": 1}"}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"}
        """#
    let request = try chatRequest(body(#""n":1"#, messages: messages))
    #expect(
        request.messages.dropFirst() == [
            ChatMessage(role: "assistant", content: #"{"name": "f", "arguments": {"a": 1}}"#),
            ChatMessage(role: "user", content: "Result of f:\nsunny"),
        ])
    for (messages, param) in [
        (#"{"role":"tool","content":"x"}"#, "messages[0].tool_call_id"),
        (#"{"role":"tool","tool_call_id":"c9","content":"x"}"#, "messages[0].tool_call_id"),
        (#"{"role":"user","content":"x","tool_calls":[{"id":"a"}]}"#, "messages[0].tool_calls"),
        (
            #"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f"}}]}"#,
            "messages[0].tool_calls[0].function.arguments"
        ),
    ] {
        #expect(refusal(body(#""n":1"#, messages: messages))?.param == param)
    }
}

@Test func callsAreTakenApartHoweverTheyAreCut() {
    let call = #"{"name": "get", "arguments": {"a": "}\"{", "b": [{}, 1]}}"#
    for size in 1...call.count {
        var reader = ToolCallReader(.callOrText)
        var parts: [AnswerPart] = []
        var rest = call[...]
        while !rest.isEmpty {
            #expect(!reader.isComplete)
            parts += reader.push(String(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        #expect(parts.first == .call(name: "get") && reader.isComplete)
        let arguments = parts.dropFirst().map { part in if case .arguments(let text) = part { text } else { "?" } }
        #expect(arguments.joined() == #"{"a": "}\"{", "b": [{}, 1]}"#)
    }
    var text = ToolCallReader(.callOrText)
    #expect(text.push("He") == [.content("He")] && text.push("{\"name") == [.content("{\"name")] && !text.isComplete)
    var cut = ToolCallReader(.call)
    #expect(
        cut.push(#"{"name": "f", "arguments": {"a""#) == [.call(name: "f"), .arguments(#"{"a""#)] && !cut.isComplete)
}

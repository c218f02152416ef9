// Anthropic's bodies and answers: what is read as which chat, what is refused, and that answers read back whatever the text.
import FoundationEssentials
@testable import Inference
import Testing

private func messages(_ body: String, counting: Bool = false) throws(OpenAIError) -> ChatRequest {
    var parser = JSONParser()
    let bytes = Array(body.utf8)
    return try MessagesRequest(bytes.span, parser: &parser, counting: counting).chat
}

private func refused(_ fields: String) -> OpenAIError? {
    do throws(OpenAIError) {
        _ = try messages(fields)
        return nil
    } catch {
        return error
    }
}

private let tool =
    #"{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}"#
private let full = #"""
    {"model":"m","max_tokens":9,"system":[{"type":"text","text":"one","cache_control":{"type":"ephemeral"}},{"type":"text","text":"two"}],
    "messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"s"},
    {"type":"text","text":"a"},{"type":"tool_use","id":"t","name":"f","input":{"a":1.50}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}]},{"type":"text","text":"so?"}]}],
    "temperature":0.5,"top_p":0.25,"top_k":7,"stop_sequences":["a","b"],"stream":true,"metadata":{"user_id":"u"},
    "thinking":{"type":"disabled"},"tools":[\#(tool)],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}}
    """#

@Test func messagesAreReadAsAChat() throws {
    let request = try messages(full)
    #expect(request.model == "m" && request.user == "u")
    #expect(request.messages.map(\.role) == ["system", "user", "assistant", "user"])
    #expect(request.messages[0].content.hasPrefix("one\n\ntwo\n\nYou can call these functions:\n{\"name\": \"f\""))
    #expect(request.messages[2].content == "a\n" + #"{"name": "f", "arguments": {"a": 1.50}}"#)
    #expect(request.messages[3].content == "Result of f:\nr\nso?")
    let options = request.options
    #expect(options.maxTokens == 9 && options.stop == ["a", "b"] && options.stream && options.form == .call)
    #expect(options.sampling.temperature == 0.5 && options.sampling.topP == 0.25 && options.sampling.topK == 7)
    let grammar = try GBNF(try #require(options.grammar))
    #expect(grammar.spells(#"{"name": "f", "arguments": {"a": 1}}"#) && !grammar.spells("x"))
}

@Test func theSameFunctionsMakeTheSamePromptOnAllRoutes() throws {
    let chat = try chatRequest(
        #"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}"#
    )
    let other = try messages(
        #"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}"#
    )
    let third = try responses(
        #"{"model":"m","input":"x","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]}"#
    ).chat
    #expect(chat.messages == other.messages && chat.messages == third.messages)
    #expect(chat.options.grammar == other.options.grammar && chat.options.grammar == third.options.grammar)
}

@Test func tokensAreCountedWithoutALimitOfTheAnswer() throws {
    let body = #"{"model":"m","messages":[{"role":"user","content":"x"}]}"#
    #expect(try messages(body, counting: true).messages.count == 1)
    #expect(refused(body)?.param == "max_tokens")
}

@Test(arguments: [
    (#""messages":[{"role":"user","content":[{"type":"image","source":{}}]}]"#, "messages[0].content[0].type"),
    (
        #""messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x"}]}]"#,
        "messages[0].content[0].tool_use_id"
    ),
    (#""messages":[{"role":"assistant","content":"The answer is ("}]"#, "messages"),
    (
        #""messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":"{}"}]}]"#,
        "messages[0].content[0].input"
    ),
    (#""messages":[{"role":"user","content":"x"}],"temperature":1.01"#, "temperature"),
    (#""messages":[{"role":"user","content":"x"}],"stop_sequences":"x""#, "stop_sequences"),
    (#""messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled","budget_tokens":1024}"#, "thinking"),
    (#""messages":[{"role":"user","content":"x"}],"tools":[{"type":"bash_20250124","name":"bash"}]"#, "tools[0].type"),
    (#""messages":[{"role":"user","content":"x"}],"mcp_servers":[{"url":"x"}]"#, "mcp_servers"),
])
func messagesThatCannotBeHonouredAreRefusedByName(_ fields: String, _ param: String) {
    let error = refused(#"{"model":"m","max_tokens":1,\#(fields)}"#)
    #expect(error?.param == param && error?.status == 400, "\(String(describing: error))")
}

// MARK: answers

private struct Message: Decodable {
    struct Block: Decodable {
        var type: String; var text: String?; var id: String?; var name: String?; var input: [String: Int]?
    }
    struct Usage: Decodable { var input_tokens: Int; var cache_read_input_tokens: Int; var output_tokens: Int }
    var id: String
    var type: String
    var content: [Block]
    var stop_reason: String?
    var stop_sequence: String?
    var usage: Usage
}

private struct Event: Decodable {
    struct Delta: Decodable {
        var type: String?; var text: String?; var partial_json: String?; var stop_reason: String?;
        var stop_sequence: String?
    }
    var type: String
    var message: Message?
    var delta: Delta?
    var usage: Message.Usage?
}

private let nasty = "q\" b\\ n\n t\t z\u{0} \u{1F} é 😀 \u{2028}"
private let head = AnswerHead(kind: .chat, id: "msg_1", created: 1, model: "m")

private func usage(stop: String? = nil) -> TokenUsage {
    var usage = TokenUsage()
    (usage.promptTokens, usage.cachedTokens, usage.completionTokens, usage.stop) = (9, 4, 3, stop)
    return usage
}

private func answer(_ form: AnswerForm, _ texts: [String], _ reason: FinishReason, stop: String? = nil) throws -> (
    Message, [Event]
) {
    var options = GenerationOptions()
    options.form = form
    var collector = MessageWriter.collector(head, options: options)
    var stream = MessageStream(head, options: options, requestID: "r")
    let events: [GenerationEvent] =
        [.started(promptTokens: 9, standing: nil)] + texts.map { GenerationEvent.text($0, logprobs: []) }
        + [.finished(reason, usage(stop: stop), GenerationTimings())]
    var whole: [UInt8] = []
    var streamed: [Event] = []
    for event in events {
        if case .success(let body) = collector.add(event, choice: 0) { whole = body }
        for part in String(decoding: stream.write(event, choice: 0), as: UTF8.self).split(separator: "\n\n") {
            let lines = part.split(separator: "\n")
            try #require(lines.count == 2 && lines[1].hasPrefix("data: "))
            streamed.append(try JSONDecoder().decode(Event.self, from: Data(lines[1].dropFirst(6).utf8)))
            #expect(lines[0] == "event: \(streamed[streamed.count - 1].type)")
        }
    }
    #expect(stream.isOver)
    return (try JSONDecoder().decode(Message.self, from: Data(whole)), streamed)
}

@Test func messagesReadBack() throws {
    let (whole, events) = try answer(.text, ["a", nasty], .stop)
    #expect(whole.content.map(\.text) == ["a" + nasty] && whole.stop_reason == "end_turn" && whole.stop_sequence == nil)
    #expect(whole.usage.input_tokens == 5 && whole.usage.cache_read_input_tokens == 4 && whole.usage.output_tokens == 3)
    #expect(
        events.map(\.type) == [
            "message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta",
            "content_block_stop", "message_delta", "message_stop",
        ])
    #expect(events.compactMap(\.delta?.text).joined() == "a" + nasty)
    #expect(events[0].message?.usage.input_tokens == 9 && events[6].usage?.output_tokens == 3)
    let (stopped, last) = try answer(.text, [], .stop, stop: "END")
    #expect(stopped.stop_reason == "stop_sequence" && stopped.stop_sequence == "END" && stopped.content.isEmpty)
    #expect(last.map(\.type) == ["message_start", "ping", "message_delta", "message_stop"])
    #expect(last[2].delta?.stop_sequence == "END")
}

@Test func callsReadBackAsToolUse() throws {
    let pieces = [#"{"name": "f", "argu"#, #"ments": {"a": "#, "1}", "}"]
    let (whole, events) = try answer(.call, pieces, .stop)
    #expect(whole.stop_reason == "tool_use" && whole.content.count == 1)
    #expect(whole.content[0].name == "f" && whole.content[0].input == ["a": 1])
    #expect(whole.content[0].id?.hasPrefix("toolu_") == true)
    #expect(events.compactMap(\.delta?.partial_json).joined() == #"{"a": 1}"#)
    #expect(events[events.count - 2].delta?.stop_reason == "tool_use")
    // What was cut is no input for a function.
    let (cut, _) = try answer(.call, Array(pieces.prefix(2)), .length)
    #expect(cut.stop_reason == "max_tokens" && cut.content[0].input == [:])
}

@Test(
    arguments: [
        (OpenAIError.missing("x"), 400, "invalid_request_error"), (.modelNotFound("m"), 404, "not_found_error"),
        (.queueFull("t", waiting: 1), 429, "rate_limit_error"), (.modelFailed("m", "c"), 500, "api_error"),
        (.modelUnavailable("m", "c", retryAfterMilliseconds: 1), 529, "overloaded_error"),
        (OpenAIError(status: 413, type: "t", message: nasty), 413, "request_too_large"),
    ] as [(OpenAIError, Int, String)])
func errorsHaveAnthropicsWords(_ error: OpenAIError, _ status: Int, _ type: String) throws {
    struct Body: Decodable {
        struct Inner: Decodable { var type: String; var message: String }
        var type: String
        var error: Inner
        var request_id: String
    }
    let body = try JSONDecoder().decode(Body.self, from: Data(error.messagesBody(requestID: "req-1")))
    #expect(error.messagesStatus == status && body.type == "error" && body.request_id == "req-1")
    #expect(body.error.type == type && body.error.message == error.message)
}

// Bodies and answers of /v1/responses: what is read as which chat, what is refused, and that every event reads back.
import FoundationEssentials
@testable import Inference
import Testing

private func read(_ body: String) throws(OpenAIError) -> ResponsesRequest {
    var parser = JSONParser()
    let bytes = Array(body.utf8)
    return try ResponsesRequest(bytes.span, parser: &parser)
}

func responses(_ body: String) throws(OpenAIError) -> ResponsesRequest { try read(body) }

private let full = #"""
    {"model":"m","instructions":"be brief","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]},
    {"type":"reasoning","id":"r","summary":[]},{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[
    {"type":"output_text","text":"a","annotations":[],"logprobs":[]}]},{"type":"function_call","call_id":"c","name":"f","arguments":""},
    {"type":"function_call","call_id":"d","name":"g","arguments":"{\"a\": 1}"},{"type":"function_call_output","call_id":"c","output":"r"},
    {"role":"developer","content":"be kind"}],"max_output_tokens":9,"temperature":0.5,"top_p":0.25,"stream":true,"store":false,
    "metadata":{"k":"v\u0000\""},"user":"u","service_tier":"flex","previous_response_id":null,"parallel_tool_calls":true}
    """#

@Test func responsesAreReadAsAChat() throws {
    let request = try read(full)
    let chat = request.chat
    #expect(
        chat.messages == [
            ChatMessage(role: "system", content: "be brief"), ChatMessage(role: "user", content: "x"),
            ChatMessage(
                role: "assistant",
                content: "a\n" + #"{"name": "f", "arguments": {}}"# + "\n" + #"{"name": "g", "arguments": {"a": 1}}"#),
            ChatMessage(role: "user", content: "Result of f:\nr"), ChatMessage(role: "system", content: "be kind"),
        ])
    #expect(chat.options.maxTokens == 9 && chat.options.stream && chat.options.priority == .batch && chat.user == "u")
    #expect(chat.options.sampling.temperature == 0.5 && chat.options.sampling.topP == 0.25)
    let plain = try read(#"{"model":"m","input":"x"}"#).chat
    #expect(plain.messages == [ChatMessage(role: "user", content: "x")] && plain.options == GenerationOptions())
}

@Test(arguments: [
    (#""input":"x","store":true"#, "store"), (#""input":"x","previous_response_id":"r""#, "previous_response_id"),
    (#""input":"x","background":true"#, "background"), (#""input":"x","truncation":"auto""#, "truncation"),
    (#""input":"x","reasoning":{"effort":"low"}"#, "reasoning.effort"), (#""input":"x","include":["x"]"#, "include"),
    (#""input":[{"type":"item_reference","id":"m"}]"#, "input[0].type"), (#""input":[]"#, "input"),
    (#""input":[{"role":"user","content":[{"type":"input_image"}]}]"#, "input[0].content[0].type"),
    (#""input":[{"type":"function_call_output","call_id":"c","output":"x"}]"#, "input[0].call_id"),
    (#""input":"x","metadata":{"k":1}"#, "metadata"),
    (#""input":"x","tools":[{"type":"web_search"}]"#, "tools[0].type"),
    (#""input":"x","text":{"format":{"type":"json_schema","schema":{}}}"#, "text.format.name"),
])
func responsesThatCannotBeHonouredAreRefusedByName(_ fields: String, _ param: String) {
    do throws(OpenAIError) {
        _ = try read(#"{"model":"m",\#(fields)}"#)
        Issue.record("accepted: \(fields)")
    } catch {
        #expect(error.param == param && error.status == 400, "\(error)")
    }
}

private struct Item: Decodable {
    struct Part: Decodable { var type: String; var text: String }
    var id: String
    var type: String
    var status: String
    var content: [Part]?
    var call_id: String?
    var name: String?
    var arguments: String?
}

private struct Answer: Decodable {
    struct Usage: Decodable { var input_tokens: Int; var output_tokens: Int; var total_tokens: Int }
    struct Details: Decodable { var reason: String }
    struct Failure: Decodable { var code: String; var message: String }
    var id: String
    var status: String
    var output: [Item]
    var usage: Usage?
    var incomplete_details: Details?
    var error: Failure?
    var store: Bool
    var metadata: [String: String]
}

private struct Event: Decodable {
    var type: String
    var sequence_number: Int
    var delta: String?
    var text: String?
    var arguments: String?
    var item: Item?
    var response: Answer?
}

private let nasty = "q\" b\\ n\n t\t z\u{0} \u{1F} é 😀 \u{2028}"
private let head = AnswerHead(kind: .chat, id: "resp_1", created: 1, model: "m")

private func answer(_ form: AnswerForm, _ texts: [String], last: GenerationEvent) throws -> (Answer?, [Event]) {
    var request = try read(full)
    request.chat.options.form = form
    var collector = ResponseWriter.collector(head, request)
    var stream = ResponseStream(head, request)
    var whole: Answer?
    var events: [Event] = []
    let all: [GenerationEvent] =
        [.started(promptTokens: 5, standing: nil)] + texts.map { GenerationEvent.text($0, logprobs: []) } + [last]
    for event in all {
        if case .success(let body) = collector.add(event, choice: 0) {
            whole = try JSONDecoder().decode(Answer.self, from: Data(body))
        }
        for part in String(decoding: stream.write(event, choice: 0), as: UTF8.self).split(separator: "\n\n") {
            let lines = part.split(separator: "\n")
            try #require(lines.count == 2 && lines[1].hasPrefix("data: "))
            events.append(try JSONDecoder().decode(Event.self, from: Data(lines[1].dropFirst(6).utf8)))
            #expect(lines[0] == "event: \(events[events.count - 1].type)")
        }
    }
    #expect(stream.isOver && events.map(\.sequence_number) == Array(0..<events.count))
    return (whole, events)
}

private func finished(_ reason: FinishReason) -> GenerationEvent {
    var usage = TokenUsage()
    (usage.promptTokens, usage.completionTokens) = (5, 3)
    return .finished(reason, usage, GenerationTimings())
}

@Test func responsesReadBack() throws {
    let (whole, events) = try answer(.text, ["a", nasty], last: finished(.stop))
    #expect(whole?.status == "completed" && whole?.store == false && whole?.metadata == ["k": "v\u{0}\""])
    #expect(whole?.output.map(\.type) == ["message"] && whole?.output[0].content?[0].text == "a" + nasty)
    #expect(whole?.usage?.total_tokens == 8)
    #expect(
        events.map(\.type) == [
            "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
            "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
            "response.content_part.done", "response.output_item.done", "response.completed",
        ])
    #expect(events.compactMap(\.delta).joined() == "a" + nasty && events[6].text == "a" + nasty)
    #expect(events[2].item?.content?.isEmpty == true && events[8].item?.status == "completed")
    #expect(events.last?.response?.output[0].content?[0].text == "a" + nasty)
    let (cut, parts) = try answer(.text, [], last: finished(.length))
    #expect(cut?.status == "incomplete" && cut?.incomplete_details?.reason == "max_output_tokens")
    #expect(
        cut?.output.count == 1 && parts.last?.type == "response.incomplete" && parts.last?.response?.output.count == 1)
}

@Test func callsReadBackAsItems() throws {
    let pieces = [#"{"name": "f", "argu"#, #"ments": {"a": "#, "1}", "}"]
    let (whole, events) = try answer(.call, pieces, last: finished(.stop))
    let item = try #require(whole?.output.first)
    #expect(item.type == "function_call" && item.name == "f" && item.arguments == #"{"a": 1}"# && item.id == "fc_1")
    #expect(
        events.compactMap(\.delta).joined() == item.arguments && events[events.count - 3].arguments == item.arguments)
    #expect(events[2].item?.call_id == events.last?.response?.output[0].call_id)
}

@Test func aFailureIsTheLastEventOfAStream() throws {
    let (_, events) = try answer(.text, ["a"], last: .failed(.modelFailed("m", "it died")))
    let last = try #require(events.last)
    #expect(
        last.type == "response.failed" && last.response?.status == "failed"
            && last.response?.error?.code == "server_error")
    #expect(last.response?.output.map(\.status) == ["incomplete"])
}

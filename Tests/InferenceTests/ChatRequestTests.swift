// Requests: what is read, what is refused by name, and that no bytes whatever do worse than a 400.
import Inference
import TestSupport
import Testing

private let full = #"""
    {"model":"m","messages":[{"role":"developer","content":"be brief"},{"role":"user","content":[{"type":"text","text":"h\u00e9 "},
    {"type":"text","text":"😀"}]},{"role":"assistant","content":null}],"stream":true,"stream_options":{"include_usage":true},
    "temperature":0.5,"top_p":0.25,"top_k":40,"min_p":0.125,"seed":-1,"stop":["a","b"],"max_completion_tokens":7,"n":1,
    "frequency_penalty":-0.5,"presence_penalty":1.5,"repetition_penalty":1.25,"logprobs":true,"top_logprobs":3,"user":"u",
    "logit_bias":{},"tools":[],"tool_choice":"none","response_format":{"type":"text"},"metadata":{"deep":[1,[2,{"x":null}]]}}
    """#

@Test func readsEveryField() throws {
    let request = try chatRequest(full)
    #expect(request.model == "m")
    #expect(request.user == "u")
    #expect(
        request.messages == [
            ChatMessage(role: "system", content: "be brief"), ChatMessage(role: "user", content: "hé 😀"),
            ChatMessage(role: "assistant", content: ""),
        ])
    let options = request.options
    #expect(options.stream && options.includeUsage && options.wantLogprobs && options.topLogprobs == 3)
    #expect(options.stop == ["a", "b"] && options.maxTokens == 7)
    let sampling = options.sampling
    #expect(sampling.temperature == 0.5 && sampling.topP == 0.25 && sampling.topK == 40 && sampling.minP == 0.125)
    #expect(sampling.seed == .max && sampling.repeatPenalty == 1.25)
    #expect(sampling.frequencyPenalty == -0.5 && sampling.presencePenalty == 1.5)
}

@Test func absentAndNullFieldsMeanTheDefault() throws {
    let plain = try chatRequest(#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#)
    let nulls = try chatRequest(
        #"{"model":"m","messages":[{"role":"user","content":"x"}],"stop":null,"n":null,"tools":null,"temperature":null}"#
    )
    #expect(plain == nulls)
    #expect(plain.options == GenerationOptions())
}

private func with(_ field: String) -> String { #"{"model":"m","messages":[{"role":"user","content":"x"}],\#(field)}"# }

@Test(arguments: [
    (#""temperature":2.1"#, "temperature"), (#""temperature":"1""#, "temperature"),
    (#""temperature":-0.1"#, "temperature"),
    (#""top_p":1.01"#, "top_p"), (#""min_p":1"#, "min_p"), (#""top_k":1.5"#, "top_k"), (#""top_k":-2"#, "top_k"),
    (#""seed":18446744073709551615"#, "seed"), (#""n":9"#, "n"), (#""n":0"#, "n"), (#""stop":"""#, "stop"),
    (#""stop":["a",1]"#, "stop"), (#""stop":{"a":1}"#, "stop"), (#""max_tokens":0"#, "max_tokens"),
    (#""max_tokens":1e99"#, "max_tokens"), (#""max_tokens":3,"max_completion_tokens":4"#, "max_tokens"),
    (#""frequency_penalty":3"#, "frequency_penalty"), (#""presence_penalty":-3"#, "presence_penalty"),
    (#""repeat_penalty":0"#, "repeat_penalty"), (#""repeat_penalty":1,"repetition_penalty":1"#, "repeat_penalty"),
    (#""logprobs":1"#, "logprobs"), (#""top_logprobs":2"#, "top_logprobs"),
    (#""logprobs":true,"top_logprobs":21"#, "top_logprobs"), (#""stream":"yes""#, "stream"),
    (#""stream_options":{"include_usage":true}"#, "stream_options"),
    (#""stream":true,"stream_options":{"include_usage":1}"#, "stream_options.include_usage"),
    (#""logit_bias":{"1":2}"#, "logit_bias"), (#""n":1.5"#, "n"),
    (#""tool_choice":"auto""#, "tool_choice"), (#""functions":[{}]"#, "functions"),
    (#""modalities":["audio"]"#, "modalities"),
    (#""user":"a","user":"b""#, "user"), (#""model":"other""#, "model"),
])
func refusesByName(_ field: String, _ param: String) {
    let error = refusal(with(field))
    #expect(error?.status == 400)
    #expect(error?.param == param)
    #expect(error?.message.hasPrefix(param) == true)
}

@Test(arguments: [
    (#"{"messages":[]}"#, "model"), (#"{"model":"m"}"#, "messages"), (#"{"model":"m","messages":[]}"#, "messages"),
    (#"{"model":"m","messages":{}}"#, "messages"), (#"{"model":"m","messages":[1]}"#, "messages[0]"),
    (#"{"model":"m","messages":[{"content":"x"}]}"#, "messages[0].role"),
    (#"{"model":"m","messages":[{"role":"king","content":"x"}]}"#, "messages[0].role"),
    (#"{"model":"m","messages":[{"role":"user"}]}"#, "messages[0].content"),
    (#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
    (#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, "messages[0].content[0].type"),
    (#"{"model":"m","messages":[{"role":"user","content":"x","content":"y"}]}"#, "messages[0].content"),
])
func namesTheMessage(_ body: String, _ param: String) {
    let error = refusal(body)
    #expect(error?.status == 400)
    #expect(error?.param == param)
}

@Test(arguments: [
    "", " ", "null", "1", "\"x\"", "[]", "{", "}", "{}}", "{} {}", #"{"a":NaN}"#, #"{"a":Infinity}"#, #"{"a":1e999}"#,
    #"{"a":01}"#,
    #"{"a":nul}"#, #"{"a":"\x"}"#, #"{"a":"\ud800"}"#, "{\"a\":\"\n\"}", #"{"a":1,}"#, #"{'a':1}"#, #"{"a" 1}"#,
    "{\"a\":1}x", "\u{0}",
    #"{"a":[1}"#, #"{"a":tru}"#, #"{"a":truex}"#, #"{"a":1.}"#, #"{"a":-}"#, #"{"a":.5}"#, #"{"a":"x}"#, #"["a":1]"#,
    #"{"a"}"#,
])
func refusesWhatIsNotJSON(_ body: String) {
    let error = refusal(body)
    #expect(error?.status == 400, "\(body)")
}

@Test func refusesInvalidUTF8AndSaysWhere() {
    let body =
        Array(#"{"model":"m","messages":[{"role":"user","content":"x"#.utf8) + [0xC3, 0x28] + Array(#""}]}"#.utf8)
    #expect(throws: OpenAIError.self) { try chatRequest(body) }
    let error = refusal(#"{"model":"m","messages":[}"#)
    #expect(error?.code == "invalid_json")
    #expect(error?.message.contains("at byte 25") == true)
}

@Test func boundsDepthAndCount() {
    let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
    #expect(refusal(with(#""x":\#(deep)"#))?.message.contains("nested too deeply") == true)
    let bomb = String(repeating: "[", count: 200_000)
    #expect(refusal(with(#""x":\#(bomb)"#))?.status == 400)
    let many = "[" + Array(repeating: "1", count: 100_001).joined(separator: ",") + "]"
    #expect(refusal(with(#""x":\#(many)"#))?.message.contains("too many values") == true)
    let stops = Array(repeating: "\"s\"", count: 5).joined(separator: ",")
    #expect(refusal(with(#""stop":[\#(stops)]"#))?.param == "stop")
    #expect(refusal(with(#""stop":"\#(String(repeating: "s", count: 10_000_000))""#))?.param == "stop")
}

@Test func everyPrefixOfAGoodBodyIsRefused() {
    let bytes = Array(full.utf8)
    for length in 0..<bytes.count {
        #expect(throws: OpenAIError.self, "\(length)") { try chatRequest(Array(bytes[..<length])) }
    }
}

@Test func noBytesDoWorseThanARefusal() throws {
    let bytes = Array(full.utf8)
    var parser = JSONParser()
    var generator = SeededGenerator(seed: 1)
    for round in 0..<20_000 {
        var body = bytes
        if round % 4 == 0 {
            body = (0..<Int.random(in: 0...200, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
        } else {
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                body[Int.random(in: 0..<body.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
        }
        do throws(OpenAIError) {
            _ = try ChatRequest(body.span, parser: &parser)
        } catch {
            #expect(error.status == 400)
            #expect(!error.message.isEmpty)
        }
    }
    // The parser is as good as new.
    #expect(try ChatRequest(bytes.span, parser: &parser).messages.count == 3)
}

@Test func completionsReadOnePrompt() throws {
    var parser = JSONParser()
    func read(_ body: String) throws(OpenAIError) -> CompletionRequest {
        try CompletionRequest(Array(body.utf8).span, parser: &parser)
    }
    let request = try read(#"{"model":"m","prompt":["Once"],"logprobs":2,"stop":"."}"#)
    #expect(request.prompt == "Once" && request.options.maxTokens == 16)
    #expect(request.options.wantLogprobs && request.options.topLogprobs == 2)
    for body in [
        #"{"model":"m"}"#, #"{"model":"m","prompt":""}"#, #"{"model":"m","prompt":["a","b"]}"#,
        #"{"model":"m","prompt":[1,2]}"#,
        #"{"model":"m","prompt":"a","echo":true}"#, #"{"model":"m","prompt":"a","suffix":"b"}"#,
        #"{"model":"m","prompt":"a","best_of":3}"#, #"{"model":"m","prompt":"a","logprobs":6}"#,
    ] {
        #expect(throws: OpenAIError.self, "\(body)") { try read(body) }
    }
}

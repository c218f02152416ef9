// Answers: what we write is read back by somebody else's JSON reader, whatever the text.
import FoundationEssentials
@testable import Inference
import TestSupport
import Testing

private struct Answer: Decodable {
    struct Message: Decodable { var role: String?; var content: String? }
    struct Token: Decodable { var token: String; var logprob: Double; var bytes: [UInt8]; var top_logprobs: [Top] }
    struct Top: Decodable { var token: String; var logprob: Double }
    struct Logprobs: Decodable { var content: [Token] }
    struct Choice: Decodable {
        var index: Int
        var message: Message?
        var delta: Message?
        var text: String?
        var finish_reason: String?
        var logprobs: Logprobs?
    }
    struct Details: Decodable { var cached_tokens: Int }
    struct Usage: Decodable {
        var prompt_tokens: Int
        var completion_tokens: Int
        var total_tokens: Int
        var prompt_tokens_details: Details
    }
    var id: String
    var object: String
    var created: Int
    var model: String
    var choices: [Choice]
    var usage: Usage?
}

private func decode<Value: Decodable>(_ type: Value.Type, _ bytes: some Collection<UInt8>) throws -> Value {
    try JSONDecoder().decode(type, from: Data(bytes))
}

private let nasty = "q\" b\\ n\n t\t r\r z\u{0} \u{1F} \u{7F} é € 😀 \u{2028} </script>"
private let head = AnswerHead(kind: .chat, id: "chatcmpl-1", created: 1_700_000_000, model: "m\"x")

private func usage() -> TokenUsage {
    var usage = TokenUsage()
    usage.promptTokens = 5
    usage.completionTokens = 7
    usage.cachedTokens = 2
    return usage
}

@Test func wholeAnswersReadBack() throws {
    let token = TokenLogprob(piece: [0xC3], logprob: -.infinity, top: [.init(piece: Array("a".utf8), logprob: -0.5)])
    let choice = AnswerChoice(text: nasty, logprobs: [token], reason: "length")
    let bytes = OpenAIWriter.answer(head, [choice], usage: usage())
    let answer = try decode(Answer.self, bytes)
    #expect(answer.object == "chat.completion" && answer.model == "m\"x" && answer.created == 1_700_000_000)
    #expect(answer.choices.first?.message?.content == nasty)
    #expect(answer.choices.first?.message?.role == "assistant")
    #expect(answer.choices.first?.finish_reason == "length")
    #expect(answer.usage?.total_tokens == 12 && answer.usage?.prompt_tokens_details.cached_tokens == 2)
    let read = answer.choices.first?.logprobs?.content.first
    #expect(read?.bytes == [0xC3] && read?.token == "\u{FFFD}" && read?.top_logprobs.first?.logprob == -0.5)
}

private func streamed(_ events: [GenerationEvent], _ options: GenerationOptions, kind: AnswerHead.Kind = .chat)
    -> [String]
{
    var head = head
    head.kind = kind
    var writer = StreamWriter(head, options: options)
    let bytes = events.flatMap { writer.write($0) }
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(text.hasSuffix("\n\n"))
    return text.split(separator: "\n\n").map { line in
        #expect(line.hasPrefix("data: "))
        return String(line.dropFirst(6))
    }
}

@Test func streamsHaveTheirChunksInOrder() throws {
    var options = GenerationOptions()
    options.includeUsage = true
    let lines = streamed(
        [
            .queued(loading: true), .started(promptTokens: 5, standing: nil), .text(nasty, logprobs: []),
            .text("b", logprobs: []),
            .finished(.stop, usage(), GenerationTimings()),
        ], options)
    #expect(lines.last == "[DONE]")
    let chunks = try lines.dropLast().map { try decode(Answer.self, Array($0.utf8)) }
    #expect(chunks.allSatisfy { $0.object == "chat.completion.chunk" && $0.id == "chatcmpl-1" })
    #expect(chunks.first?.choices.first?.delta?.role == "assistant")
    #expect(chunks.compactMap { $0.choices.first?.delta?.content }.joined() == nasty + "b")
    #expect(chunks.map { $0.choices.first?.finish_reason } == [nil, nil, nil, "stop", nil])
    #expect(chunks.last?.choices.isEmpty == true && chunks.last?.usage?.total_tokens == 12)
    #expect(lines.first?.contains("\"usage\":null") == true)
}

@Test func textStreamsAndFailuresHaveTheirShape() throws {
    var options = GenerationOptions()
    options.wantLogprobs = true
    let token = TokenLogprob(piece: Array("é".utf8), logprob: -1)
    let lines = streamed(
        [
            .started(promptTokens: 1, standing: nil), .text("é", logprobs: [token]), .text("é", logprobs: [token]),
            .failed(.modelFailed("m", "crashed")),
        ],
        options, kind: .text)
    #expect(lines[0].contains("\"text_offset\":[0]") && lines[1].contains("\"text_offset\":[1]"))
    #expect(lines.last?.hasPrefix("{\"error\":{\"message\":\"model m: crashed\"") == true)
    #expect(lines.count == 3)
}

@Test func severalAnswersShareOneStreamAndOneUsage() throws {
    var options = GenerationOptions()
    options.includeUsage = true
    options.choices = 2
    let events: [(Int, GenerationEvent)] = [
        (1, .started(promptTokens: 5, standing: nil)), (0, .started(promptTokens: 5, standing: nil)),
        (1, .text("b", logprobs: [])),
        (0, .text("a", logprobs: [])), (1, .finished(.stop, usage(), GenerationTimings())),
        (0, .text("A", logprobs: [])),
        (0, .finished(.length, usage(), GenerationTimings())),
    ]
    var writer = StreamWriter(head, options: options)
    var collector = AnswerCollector(head, options: options)
    var bytes: [UInt8] = []
    var whole: [UInt8] = []
    for (choice, event) in events {
        #expect(!writer.isOver && whole.isEmpty)
        bytes += writer.write(event, choice: choice)
        if case .success(let body)? = collector.add(event, choice: choice) { whole = body }
    }
    #expect(writer.isOver && writer.write(.failed(.modelFailed("m", "late"))).isEmpty)
    let answer = try decode(Answer.self, whole)
    #expect(answer.choices.map(\.index) == [0, 1] && answer.choices.map(\.message?.content) == ["aA", "b"])
    #expect(answer.choices.map(\.finish_reason) == ["length", "stop"])
    #expect(
        answer.usage?.prompt_tokens == 5 && answer.usage?.completion_tokens == 14 && answer.usage?.total_tokens == 19)
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").map { String($0.dropFirst(6)) }
    #expect(lines.last == "[DONE]" && lines.filter { $0 == "[DONE]" }.count == 1)
    let chunks = try lines.dropLast().map { try decode(Answer.self, Array($0.utf8)) }
    let texts = (0...1).map { index in
        chunks.flatMap(\.choices).filter { $0.index == index }.compactMap(\.delta?.content).joined()
    }
    #expect(texts == ["aA", "b"] && chunks.last?.usage?.completion_tokens == 14)
}

@Test func errorsHaveAllFourFields() throws {
    struct Body: Decodable {
        struct Inner: Decodable { var message: String; var type: String; var param: String?; var code: String? }
        var error: Inner
    }
    let error = OpenAIError.invalid("temperature", nasty, code: "invalid_value")
    let body = try decode(Body.self, error.body)
    #expect(body.error.message == nasty && body.error.type == "invalid_request_error")
    #expect(body.error.param == "temperature" && body.error.code == "invalid_value")
}

@Test func anyTextSurvivesTheWriter() throws {
    for seed in 0..<500 {
        var generator = SeededGenerator(seed: UInt64(seed))
        let bytes = (0..<Int.random(in: 0...64, using: &generator)).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        let text = String(decoding: bytes, as: UTF8.self)
        var json = JSONWriter()
        json.array([text]) { json, text in json.string(text) }
        #expect(try decode([String].self, json.bytes) == [text], "seed \(seed)")
    }
}

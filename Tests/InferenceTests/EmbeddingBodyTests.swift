// Bodies of embeddings, rerank and tokenize, and their answers: read back by somebody else's JSON reader.
import FoundationEssentials
@testable import Inference
import Testing

private func embeddings(_ body: String) throws(OpenAIError) -> EmbeddingsBody {
    var parser = JSONParser()
    return try EmbeddingsBody(Array(body.utf8).span, parser: &parser)
}

private func rerank(_ body: String) throws(OpenAIError) -> RerankBody {
    var parser = JSONParser()
    return try RerankBody(Array(body.utf8).span, parser: &parser)
}

@Test func inputsOfEveryShape() throws {
    #expect(try embeddings(#"{"model":"m","input":"a"}"#).inputs == [.text("a")])
    #expect(try embeddings(#"{"model":"m","input":["a","é"]}"#).inputs == [.text("a"), .text("é")])
    #expect(try embeddings(#"{"model":"m","input":[1,2]}"#).inputs == [.tokens([1, 2])])
    #expect(
        try embeddings(#"{"model":"m","input":[[1],"a",[2,3]]}"#).inputs == [
            .tokens([1]), .text("a"), .tokens([2, 3]),
        ])
    let body = try embeddings(#"{"model":"m","input":"a","encoding_format":"base64","dimensions":64,"user":"u"}"#)
    #expect(body.encoding == .base64 && body.dimensions == 64 && body.request(tenant: "t").tenant == "t")
}

@Test func inputsAreNamedAsTheyStoodInTheBody() throws {
    #expect(try embeddings(#"{"model":"m","input":"a"}"#).names.name(0) == "input")
    #expect(try embeddings(#"{"model":"m","input":["a"]}"#).names.name(0) == "input[0]")
    let names = try rerank(#"{"model":"m","query":"q","documents":["a","b"]}"#).request(tenant: "t").names
    #expect(names.name(0) == "query" && names.name(1) == "documents[0]" && names.name(2) == "documents[1]")
}

@Test(arguments: [
    #"{"model":"m"}"#, #"{"input":"a"}"#, #"{"model":"m","input":[]}"#, #"{"model":"m","input":""}"#,
    #"{"model":"m","input":[[]]}"#, #"{"model":"m","input":[""]}"#, #"{"model":"m","input":[null]}"#,
    #"{"model":"m","input":true}"#, #"{"model":"m","input":[1,"a"]}"#, #"{"model":"m","input":["a",1]}"#,
    #"{"model":"m","input":[4294967296]}"#, #"{"model":"m","input":"a","encoding_format":"Float"}"#,
    #"{"model":"m","input":"a","dimensions":NaN}"#, #"{"model":"m","input":"a","dimensions":-1}"#,
    #"{"model":"m","input":"a","input":"b"}"#, "[]", "",
])
func badEmbeddingBodiesAreRefused(_ body: String) {
    #expect(throws: OpenAIError.self) { try embeddings(body) }
}

private struct Item: Decodable {
    var index: Int
    var embedding: [Float]
}
private struct Packed: Decodable { var embedding: String }
private struct List<Element: Decodable>: Decodable {
    var object: String
    var model: String
    var data: [Element]
    var usage: [String: Int]
}

private func collect(_ collector: some EventCollector, _ events: [GenerationEvent]) throws -> [UInt8] {
    var collector = collector
    var results: [Result<[UInt8], OpenAIError>] = []
    for event in events { if let result = collector.add(event) { results.append(result) } }
    #expect(results.count == 1)
    return try #require(results.last).get()
}

private func usage(_ tokens: Int) -> TokenUsage {
    var usage = TokenUsage()
    usage.promptTokens = tokens
    return usage
}

@Test func vectorsAreReadBackExactly() throws {
    let vectors: [[Float]] = [
        [0.1, -1e-20, 3.402_823_5e38, 0, -0.0], [1, 2, 3], [1], [.leastNonzeroMagnitude, 0.333_333_34], [],
    ]
    var events = vectors.enumerated().map { GenerationEvent.embedding(index: $0.offset, vector: $0.element) }
    events.append(.finished(.stop, usage(9), GenerationTimings()))
    let float = try embeddings(#"{"model":"m\"x","input":"a"}"#)
    let list = try JSONDecoder().decode(List<Item>.self, from: Data(collect(EmbeddingCollector(float), events)))
    #expect(list.data.map(\.embedding) == vectors && list.data.map(\.index) == [0, 1, 2, 3, 4])
    #expect(list.object == "list" && list.model == "m\"x" && list.usage == ["prompt_tokens": 9, "total_tokens": 9])
    let base64 = try embeddings(#"{"model":"m","input":"a","encoding_format":"base64"}"#)
    let packed = try JSONDecoder().decode(List<Packed>.self, from: Data(collect(EmbeddingCollector(base64), events)))
    for (vector, item) in zip(vectors, packed.data) {
        let bytes = try #require(Data(base64Encoded: item.embedding))
        #expect(Vector.parse(Array(bytes), count: vector.count)?.map(\.bitPattern) == vector.map(\.bitPattern))
    }
}

@Test func documentsAreOrderedByNearnessAndEqualsByPlace() throws {
    struct Ranking: Decodable {
        struct Document: Decodable { var text: String }
        struct Result: Decodable {
            var index: Int
            var relevance_score: Float
            var document: Document?
        }
        var results: [Result]
    }
    let vectors: [[Float]] = [[1, 0], [0, 1], [2, 0], [-1, 0], [1, 0], [0, 0]]
    var events = vectors.enumerated().map { GenerationEvent.embedding(index: $0.offset, vector: $0.element) }
    events.append(.finished(.stop, usage(9), GenerationTimings()))
    let all = try rerank(#"{"model":"m","query":"q","documents":["a","b","c","d","e"]}"#)
    let whole = try JSONDecoder().decode(Ranking.self, from: Data(collect(RerankCollector(all, id: "1"), events)))
    #expect(whole.results.map(\.index) == [1, 3, 0, 4, 2])
    #expect(whole.results.map(\.relevance_score) == [1, 1, 0, 0, -1] && whole.results[0].document == nil)
    let two = try rerank(
        #"{"model":"m","query":"q","documents":["a","b",{"text":"c"},"d","e"],"top_n":2,"return_documents":true}"#)
    let top = try JSONDecoder().decode(Ranking.self, from: Data(collect(RerankCollector(two, id: "1"), events)))
    #expect(top.results.map { $0.document?.text } == ["b", "d"])
}

@Test func tokensAreCounted() throws {
    let body = try collect(
        TokenCollector(), [.tokens([1, -2, 3], limit: 512), .finished(.stop, usage(3), GenerationTimings())])
    #expect(String(decoding: body, as: UTF8.self) == #"{"tokens":[1,-2,3],"count":3,"max_model_len":512}"#)
}

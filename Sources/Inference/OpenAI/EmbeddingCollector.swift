// Gathers vectors into the answer of POST /v1/embeddings, each written when it comes.

package struct EmbeddingCollector: EventCollector {
    private let model: String
    private let encoding: EmbeddingsBody.Encoding
    private var json: JSONWriter
    package private(set) var timings = GenerationTimings()

    package init(_ body: EmbeddingsBody) {
        model = body.model
        encoding = body.encoding
        json = JSONWriter(reserving: 4096)
        json.raw("{\"object\":\"list\",\"data\":[")
    }

    package mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>? {
        switch event {
        case .embedding(let index, let vector):
            write(index, vector)
            return nil
        case .finished(_, let usage, let timings):
            self.timings = timings
            json.raw("],\"model\":")
            json.string(model)
            json.raw(",\"usage\":")
            OpenAIWriter.promptUsage(&json, usage)
            json.raw("}")
            return .success(json.bytes)
        case .failed(let error): return .failure(error)
        default: return nil
        }
    }

    private mutating func write(_ index: Int, _ vector: [Float]) {
        json.raw(index > 0 ? ",{\"object\":\"embedding\",\"index\":" : "{\"object\":\"embedding\",\"index\":")
        json.integer(index)
        json.raw(",\"embedding\":")
        switch encoding {
        case .float: json.array(vector) { json, number in json.number(number) }
        case .base64: json.base64(vector)
        }
        json.raw("}")
    }
}

extension OpenAIWriter {
    /// The usage of a request that makes no tokens.
    static func promptUsage(_ json: inout JSONWriter, _ usage: TokenUsage) {
        json.raw("{\"prompt_tokens\":")
        json.integer(usage.promptTokens)
        json.raw(",\"total_tokens\":")
        json.integer(usage.promptTokens)
        json.raw("}")
    }
}

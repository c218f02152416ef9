// Gathers vectors into the answer of POST /v1/rerank: the documents by how near they are to the query.

package struct RerankCollector: EventCollector {
    private let body: RerankBody
    private let id: String
    private var query: [Float] = []
    private var scores: [(index: Int, score: Float)] = []
    package private(set) var timings = GenerationTimings()

    package init(_ body: RerankBody, id: String) {
        self.body = body
        self.id = id
    }

    package mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>? {
        switch event {
        case .embedding(index: 0, let vector): query = vector
        case .embedding(let index, let vector): scores.append((index - 1, Vector.cosine(query, vector)))
        case .finished(_, let usage, let timings):
            self.timings = timings
            return .success(answer(usage))
        case .failed(let error): return .failure(error)
        default: break
        }
        return nil
    }

    private func answer(_ usage: TokenUsage) -> [UInt8] {
        // Of equals the one that was sent first.
        let ranked = scores.sorted { ($1.score, $0.index) < ($0.score, $1.index) }
        var json = JSONWriter(reserving: 64 * ranked.count + 256)
        json.raw("{\"id\":")
        json.string(id)
        json.raw(",\"object\":\"list\",\"model\":")
        json.string(body.model)
        json.raw(",\"results\":")
        json.array(Array(ranked.prefix(body.topN ?? ranked.count))) { json, result in
            json.raw("{\"index\":")
            json.integer(result.index)
            json.raw(",\"relevance_score\":")
            json.number(result.score)
            if body.returnDocuments {
                json.raw(",\"document\":{\"text\":")
                json.string(body.documents[result.index])
                json.raw("}")
            }
            json.raw("}")
        }
        json.raw(",\"usage\":")
        OpenAIWriter.promptUsage(&json, usage)
        json.raw("}")
        return json.bytes
    }
}

// Asks an embedding model through the host: texts become vectors.

/// Vectors for texts, in their order.
public struct Embeddings: Sendable {
    public let vectors: [[Float]]
    public let promptTokens: Int
}

extension Model {
    /// Makes one vector of length 1 for each text. The host takes up to 2048 texts at once.
    public func embed(_ texts: [String]) async throws -> Embeddings {
        let answer = try await context.call(
            "model.embed", EmbeddingRequest(model: name, input: texts), as: EmbeddingList.self)
        guard answer.data.map(\.index) == Array(texts.indices) else {
            throw HostCallError(
                call: "model.embed", type: "unexpected_answer",
                message: "the answer has \(answer.data.count) vectors for \(texts.count) texts, or in another order")
        }
        return Embeddings(vectors: answer.data.map(\.embedding), promptTokens: answer.usage?.promptTokens ?? 0)
    }

    /// Makes the vector of one text.
    public func embed(_ text: String) async throws -> [Float] { try await embed([text]).vectors[0] }
}

private struct EmbeddingRequest: Encodable {
    let model: String
    let input: [String]
}

private struct EmbeddingList: Decodable {
    struct Item: Decodable {
        let index: Int
        let embedding: [Float]
    }
    struct Usage: Decodable {
        let promptTokens: Int

        enum CodingKeys: String, CodingKey {
            case promptTokens = "prompt_tokens"
        }
    }
    let data: [Item]
    let usage: Usage?
}

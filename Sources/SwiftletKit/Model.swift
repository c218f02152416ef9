// Asks a model through the host: chat whole, or token by token.

/// One turn of a chat.
public struct ChatMessage: Codable, Sendable {
    public var role: String
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }

    public static func system(_ content: String) -> ChatMessage { .init(role: "system", content: content) }
    public static func user(_ content: String) -> ChatMessage { .init(role: "user", content: content) }
    public static func assistant(_ content: String) -> ChatMessage { .init(role: "assistant", content: content) }
}

/// A whole answer.
public struct ChatReply: Sendable {
    public let text: String
    /// "stop", "length" or what else the host says.
    public let finishReason: String?
    public let promptTokens: Int
    public let completionTokens: Int
}

/// A bit of an answer.
public struct ChatDelta: Sendable {
    public let text: String
    /// Set on the last one.
    public let finishReason: String?
}

public struct Model: Sendable {
    public let name: String
    let context: Context

    /// Asks for a whole answer.
    public func chat(
        _ messages: [ChatMessage], temperature: Double? = nil, maxTokens: Int? = nil, topP: Double? = nil,
        seed: Int? = nil,
        stop: [String]? = nil
    ) async throws -> ChatReply {
        let request = ChatRequest(
            model: name, messages: messages, stream: false, temperature: temperature, maxTokens: maxTokens, topP: topP,
            seed: seed, stop: stop)
        let answer = try await context.call("model.chat", request, as: ChatCompletion.self)
        guard let choice = answer.choices.first else {
            throw HostCallError(call: "model.chat", type: "unexpected_answer", message: "the answer has no choices")
        }
        return ChatReply(
            text: choice.message?.content ?? "", finishReason: choice.finishReason,
            promptTokens: answer.usage?.promptTokens ?? 0, completionTokens: answer.usage?.completionTokens ?? 0)
    }

    /// Asks for an answer that arrives as it is made; dropping it stops the model.
    public func chatStream(
        _ messages: [ChatMessage], temperature: Double? = nil, maxTokens: Int? = nil, topP: Double? = nil,
        seed: Int? = nil,
        stop: [String]? = nil
    ) throws -> ChatStream {
        let request = ChatRequest(
            model: name, messages: messages, stream: true, temperature: temperature, maxTokens: maxTokens, topP: topP,
            seed: seed, stop: stop)
        return ChatStream(chunks: try context.callStream("model.chat", json: try JSON.encode(request)))
    }
}

/// A model's answer, bit by bit.
public struct ChatStream: AsyncSequence, Sendable {
    public typealias Element = ChatDelta
    let chunks: HostCallStream

    public struct Iterator: AsyncIteratorProtocol {
        var chunks: HostCallStream.Iterator

        public mutating func next() async throws -> ChatDelta? {
            while let json = try await chunks.next() {
                let chunk: ChatCompletion
                do {
                    chunk = try JSON.decode(ChatCompletion.self, from: json)
                } catch {
                    throw HostCallError(call: "model.chat", type: "unexpected_answer", message: describe(error))
                }
                // Chunks without a choice carry the usage, those without text only the role.
                guard let choice = chunk.choices.first else { continue }
                let text = choice.delta?.content ?? ""
                if text.isEmpty && choice.finishReason == nil { continue }
                return ChatDelta(text: text, finishReason: choice.finishReason)
            }
            return nil
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(chunks: chunks.makeAsyncIterator()) }
}

private struct ChatRequest: Encodable {
    let model: String
    let messages: [ChatMessage]
    let stream: Bool
    let temperature: Double?
    let maxTokens: Int?
    let topP: Double?
    let seed: Int?
    let stop: [String]?

    enum CodingKeys: String, CodingKey {
        case model, messages, stream, temperature, seed, stop
        case maxTokens = "max_tokens"
        case topP = "top_p"
    }
}

/// What `chat.completion` and `chat.completion.chunk` have in common, as far as a handler needs it.
private struct ChatCompletion: Decodable {
    struct Text: Decodable {
        let content: String?
    }
    struct Choice: Decodable {
        let message: Text?
        let delta: Text?
        let finishReason: String?

        enum CodingKeys: String, CodingKey {
            case message, delta
            case finishReason = "finish_reason"
        }
    }
    struct Usage: Decodable {
        let promptTokens: Int
        let completionTokens: Int

        enum CodingKeys: String, CodingKey {
            case promptTokens = "prompt_tokens"
            case completionTokens = "completion_tokens"
        }
    }
    let choices: [Choice]
    let usage: Usage?
}

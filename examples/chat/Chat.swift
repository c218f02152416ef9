// Answers a question with a model: builds the prompt, streams the answer as it is made.
import SwiftletKit

struct Chat: Handler {
    struct Settings: Decodable {
        let model: String
        let system: String
        let max_tokens: Int
    }
    struct Question: Decodable {
        let question: String
    }
    struct Token: Encodable {
        let text: String
    }

    let settings: Settings

    init(configuration: Configuration) throws { settings = try configuration.decode() }

    func respond(to request: Request, context: Context) async throws -> Response {
        let question = try await question(in: request)
        let messages: [ChatMessage] = [.system(settings.system), .user(question)]
        context.log.info("asking \(settings.model): \(question)")
        let answer = try context.model(settings.model).chatStream(
            messages, temperature: 0.2, maxTokens: settings.max_tokens)
        return request.headers["accept"]?.contains("text/event-stream") == true ? events(answer) : plain(answer)
    }

    private func question(in request: Request) async throws -> String {
        if let question = request.query["q"] { return question }
        guard request.method == "POST" else { throw HTTPError(400, "ask with ?q=… or POST {\"question\": \"…\"}") }
        return try await request.json(Question.self).question
    }

    private func events(_ answer: ChatStream) -> Response {
        .events { writer in
            for try await delta in answer { try await writer.event(json: Token(text: delta.text)) }
            try await writer.event(data: "[DONE]")
        }
    }

    private func plain(_ answer: ChatStream) -> Response {
        .stream(headers: ["content-type": "text/plain; charset=utf-8"]) { writer in
            for try await delta in answer {
                try await writer.write(delta.text)
                try await writer.flush()
            }
            try await writer.write("\n")
        }
    }
}

// The bodies of /v1/messages and /v1/responses, and what answers repeat of them.
import Inference

extension Target {
    static let messages = Target(name: "messages") { bytes in
        var used = JSONParser()
        let first = Result { () throws(OpenAIError) in try MessagesRequest(bytes.span, parser: &used) }
        let counted = Result { () throws(OpenAIError) in try MessagesRequest(bytes.span, parser: &used, counting: true)
        }
        let second = Result { () throws(OpenAIError) in try MessagesRequest(bytes.span, parser: &used) }
        require("\(first)" == "\(second)", "a used parser reads what a fresh one reads")
        switch first {
        case .success(let request):
            checkPromises(request.chat)
            require(request.chat.options.maxTokens != nil, "max_tokens is required")
            require((try? counted.get()) == request, "what can be answered can be counted")
            let head = AnswerHead(kind: .chat, id: "msg_1", created: 1, model: request.chat.model)
            checkAnswer(MessageWriter.collector(head, options: request.chat.options))
        case .failure(let error): checkRefusal(error)
        }
        if case .success(let request) = counted, let count = try? request.tokens(tenant: "t") {
            require(count.tenant == "t", "a count is its tenant's")
        }
    }

    static let responses = Target(name: "responses") { bytes in
        var used = JSONParser()
        let first = Result { () throws(OpenAIError) in try ResponsesRequest(bytes.span, parser: &used) }
        let second = Result { () throws(OpenAIError) in try ResponsesRequest(bytes.span, parser: &used) }
        require("\(first)" == "\(second)", "a used parser reads what a fresh one reads")
        switch first {
        case .success(let request):
            checkPromises(request.chat)
            let head = AnswerHead(kind: .chat, id: "resp_1", created: 1, model: request.chat.model)
            checkAnswer(ResponseWriter.collector(head, request))
        case .failure(let error): checkRefusal(error)
        }
    }

    private static func checkRefusal(_ error: OpenAIError) {
        require(error.status == 400 && !error.message.isEmpty, "a refusal says why: \(error)")
        var parser = JSONParser()
        for body in [error.body, error.messagesBody(requestID: "r")] {
            parser.read(body.span, refuse: { fatalError("BROKEN: an error is JSON: \($0)") }) { _ in }
        }
    }

    /// Whatever was asked, an answer is JSON.
    private static func checkAnswer(_ collector: any AnswerBody) {
        var collector = collector
        _ = collector.add(.started(promptTokens: 1, standing: nil), choice: 0)
        _ = collector.add(.text("{\"name\": \"f\", \"arguments\": {\"a\": \"\\u00e9", logprobs: []), choice: 0)
        guard case .success(let body) = collector.add(.finished(.length, TokenUsage(), GenerationTimings()), choice: 0)
        else { fatalError("BROKEN: a finished answer has a body") }
        var parser = JSONParser()
        parser.read(
            body.span, maxValues: 2 * JSONParser.maxValues, refuse: { fatalError("BROKEN: an answer is JSON: \($0)") }
        ) { _ in }
    }
}

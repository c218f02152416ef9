// The bodies of /v1/chat/completions and /v1/completions: simdjson, its door, and what is made of the values.
import Inference

extension Target {
    static let chat = Target(name: "chat") { bytes in
        var fresh = JSONParser()
        let first = Result { () throws(OpenAIError) in try ChatRequest(bytes.span, parser: &fresh) }
        // The host keeps one parser for all clients: nothing of the body before may show in the next.
        _ = Result { () throws(OpenAIError) in try ChatRequest(longest.span, parser: &fresh) }
        let second = Result { () throws(OpenAIError) in try ChatRequest(bytes.span, parser: &fresh) }
        require("\(first)" == "\(second)", "a used parser reads what a fresh one reads")
        if case .success(let request) = first { checkPromises(request) }
        let completion = Result { () throws(OpenAIError) in try CompletionRequest(bytes.span, parser: &fresh) }
        if case .success(let request) = completion { checkPromises(request.options, model: request.model) }
    }

    private static let longest = Array(
        #"{"model":"before","messages":[{"role":"user","content":"\#(String(repeating: "before ", count: 200))"}]}"#
            .utf8)

    static func checkPromises(_ request: ChatRequest) {
        // The system's turn, and what tells of functions, come on top.
        require((1...4098).contains(request.messages.count), "there is a message, and not too many")
        for message in request.messages {
            require(["system", "user", "assistant"].contains(message.role), "the role is one of ours")
        }
        checkPromises(request.options, model: request.model)
    }

    private static func checkPromises(_ options: GenerationOptions, model: String) {
        let sampling = options.sampling
        require(model.utf8.count <= 256, "the model's name is short")
        require((0...2).contains(sampling.temperature), "temperature: \(sampling.temperature)")
        require(sampling.topP > 0 && sampling.topP <= 1, "top_p: \(sampling.topP)")
        require(sampling.minP >= 0 && sampling.minP < 1, "min_p: \(sampling.minP)")
        require(sampling.topK >= 0, "top_k: \(sampling.topK)")
        require(sampling.repeatPenalty > 0, "repeat_penalty: \(sampling.repeatPenalty)")
        require((0...20).contains(options.topLogprobs), "top_logprobs: \(options.topLogprobs)")
        require(
            options.maxTokens.map { (1...100_000_000).contains($0) } ?? true, "max_tokens: \(options.maxTokens ?? 0)")
        require((1...8).contains(options.choices), "n: \(options.choices)")
        require((options.grammar?.utf8.count ?? 0) <= 256 << 10, "a grammar is bounded")
        require(options.stop.count <= 4 && !options.stop.contains(""), "stops are few and not empty")
    }
}

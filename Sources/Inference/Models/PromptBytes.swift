// How long a prompt may be before its tokens are counted: a worker does nothing else meanwhile, and the worst take 5 s a MiB.

enum PromptBytes {
    /// More than a token stands for on the average of a whole context, in any language and in code.
    private static let perToken = 16
    private static let least = 4096

    /// Why a prompt can't fit whatever its tokens are; nil: it may.
    static func refusal(_ prompt: GenerationRequest.Prompt, contextTokens: Int, most: Int?) -> OpenAIError? {
        let most = most ?? max(least, perToken * contextTokens)
        let (field, bytes) =
            switch prompt {
            case .chat(let messages):
                ("messages", messages.reduce(0) { $0 + $1.role.utf8.count + $1.content.utf8.count })
            case .text(let text): ("prompt", text.utf8.count)
            }
        guard bytes > most else { return nil }
        return .invalid(
            field,
            "This model's maximum context length is \(contextTokens) tokens, and \(most) bytes are read of a prompt. "
                + "However, yours has \(bytes) bytes. Shorten the prompt.", code: "context_length_exceeded")
    }
}

// OpenTelemetry's names for what is said of a model's answer (semantic conventions for generative AI, "Development").

/// Attribute names and values, for log lines now and for spans.
package enum GenAI {
    package static let operationName = "gen_ai.operation.name"
    package static let providerName = "gen_ai.provider.name"
    package static let requestModel = "gen_ai.request.model"
    package static let responseModel = "gen_ai.response.model"
    package static let responseID = "gen_ai.response.id"
    package static let requestTemperature = "gen_ai.request.temperature"
    package static let requestTopP = "gen_ai.request.top_p"
    package static let requestTopK = "gen_ai.request.top_k"
    package static let requestMaxTokens = "gen_ai.request.max_tokens"
    package static let requestSeed = "gen_ai.request.seed"
    package static let requestChoices = "gen_ai.request.choice.count"
    package static let finishReasons = "gen_ai.response.finish_reasons"
    package static let inputTokens = "gen_ai.usage.input_tokens"
    package static let outputTokens = "gen_ai.usage.output_tokens"
    package static let cacheReadTokens = "gen_ai.usage.cache_read.input_tokens"
    package static let errorType = "error.type"
    /// Not one of theirs: they know no tenants.
    package static let tenant = "swiftlet.tenant"

    package static let provider = "swiftlet"

    /// Values of `gen_ai.operation.name`.
    package enum Operation: String, Sendable {
        case chat
        case textCompletion = "text_completion"
        case embeddings
        /// Ours: the conventions have no word for these.
        case tokenize
        case infer
    }
}

extension ModelRequest {
    package var operation: GenAI.Operation {
        switch self {
        case .generation(let request): if case .chat = request.prompt { .chat } else { .textCompletion }
        case .embedding: .embeddings
        case .tokens: .tokenize
        case .inference: .infer
        }
    }
}

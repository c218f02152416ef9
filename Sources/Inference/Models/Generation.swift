// What is asked of a model and what comes back, as values that cross threads; InferenceService takes and gives them.

package import Ledger

/// One answer to be made.
package struct GenerationRequest: Sendable {
    package enum Prompt: Sendable, Equatable {
        case chat([ChatMessage])
        case text(String)
    }

    package var tenant: String
    package var prompt: Prompt
    package var options: GenerationOptions
    /// Told what it takes.
    package var meter: CallMeter?

    package init(tenant: String, prompt: Prompt, options: GenerationOptions) {
        self.tenant = tenant
        self.prompt = prompt
        self.options = options
    }

    /// Who pays for it: whoever the ledger says asked.
    var payer: QuotaPayer { QuotaPayer(tenant: tenant, principal: meter?.principal) }
}

/// Tokens that an answer took.
package struct TokenUsage: Equatable, Sendable {
    package var promptTokens = 0
    /// Prompt tokens that did not have to be read again.
    package var cachedTokens = 0
    package var completionTokens = 0
    /// The quota that ended the answer at this very token.
    package var cutBy: QuotaName?
    /// The stop string that ended the answer.
    package var stop: String?

    package init() {}
}

/// Where the time of an answer went, in nanoseconds.
package struct GenerationTimings: Equatable, Sendable {
    /// Waiting for the model to be loaded.
    package var load: UInt64 = 0
    /// Waiting for a place in the running model.
    package var queue: UInt64 = 0
    /// From its place to the first token.
    package var prefill: UInt64 = 0
    /// From the first token to the last.
    package var decode: UInt64 = 0

    package init() {}
}

/// What happens to a request. `.finished`, `.inferred` or `.failed` comes last, once.
package enum GenerationEvent: Sendable {
    /// It waits; `loading`: for the model to be loaded.
    case queued(loading: Bool)
    /// Its prompt is being read.
    case started(promptTokens: Int, standing: QuotaStanding?)
    case text(String, logprobs: [TokenLogprob])
    /// The vector of one input; they come in order.
    case embedding(index: Int, vector: [Float])
    /// The tokens of a text; `limit`: how many the model reads of one.
    case tokens([Int32], limit: Int)
    case finished(FinishReason, TokenUsage, GenerationTimings)
    /// What a request on tensors came to.
    case inferred(TensorResult)
    case failed(OpenAIError)
}

/// Receives the events of one request on the loop of the models: hand them on, don't work there.
package typealias GenerationSink = @Sendable (GenerationEvent) -> Void

/// The same for a request of several answers, with the number of the answer.
package typealias ChoiceSink = @Sendable (_ choice: Int, GenerationEvent) -> Void

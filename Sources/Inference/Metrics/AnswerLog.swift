// One line of the host's log for each request of a model that is over, in OpenTelemetry's words (`serve --log-answers`).
internal import Platform

enum AnswerLog {
    /// A sink that logs the end of what it hands on. No text of a prompt or an answer is ever in it.
    static func logging(
        _ request: ModelRequest, model: String, to sink: @escaping GenerationSink
    ) -> GenerationSink {
        let known = [
            (GenAI.operationName, request.operation.rawValue), (GenAI.providerName, GenAI.provider),
            (GenAI.requestModel, model), (GenAI.tenant, request.tenant),
        ]
        return { event in
            sink(event)
            switch event {
            case .finished(let reason, let usage, _):
                Log.info("a model's answer is over", known + fields(reason, usage))
            case .inferred: Log.info("a model's answer is over", known)
            case .failed(let error):
                Log.info("a model's answer is over", known + [(GenAI.errorType, error.code ?? error.type)])
            case .queued, .started, .text, .embedding, .tokens: break
            }
        }
    }

    private static func fields(_ reason: FinishReason, _ usage: TokenUsage) -> [(String, String)] {
        [
            (GenAI.finishReasons, reason.rawValue), (GenAI.inputTokens, "\(usage.promptTokens)"),
            (GenAI.outputTokens, "\(usage.completionTokens)"), (GenAI.cacheReadTokens, "\(usage.cachedTokens)"),
        ]
    }
}

// Gathers the events of one request into one answer, as `stream: false` asks for.

/// Feed it every event in order until it gives the answer.
package struct AnswerCollector {
    private let head: AnswerHead
    private var text = ""
    private var logprobs: [TokenLogprob]?
    /// Of the finished answer, for headers.
    package private(set) var usage = TokenUsage()
    package private(set) var timings = GenerationTimings()

    package init(_ head: AnswerHead, options: GenerationOptions) {
        self.head = head
        logprobs = options.wantLogprobs ? [] : nil
    }

    /// The body of the answer, or the error, once the last event came.
    package mutating func add(_ event: GenerationEvent) -> Result<[UInt8], OpenAIError>? {
        switch event {
        case .queued, .started, .inferred: return nil
        case .text(let more, let moreLogprobs):
            text += more
            logprobs?.append(contentsOf: moreLogprobs)
            return nil
        case .finished(let reason, let usage, let timings):
            self.usage = usage
            self.timings = timings
            return .success(OpenAIWriter.answer(head, text: text, reason: reason, usage: usage, logprobs: logprobs))
        case .failed(let error): return .failure(error)
        }
    }
}

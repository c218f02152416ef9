// Gathers the events of one request into one answer, as `stream: false` asks for.
internal import Core

/// One answer of a request, in the making or whole.
struct AnswerChoice {
    struct Call {
        var id: String
        var name: String
        var arguments = ""
    }

    var text = ""
    var call: Call?
    var logprobs: [TokenLogprob]?
    /// The word clients read; nil: still in the making.
    var reason: String?
    /// The quota that cut it.
    var cutBy: QuotaName?
    /// The stop string that ended it.
    var stop: String?
}

/// Feed it every event in order until it gives the answer.
package struct AnswerCollector: AnswerBody {
    private let write: ([AnswerChoice], TokenUsage) -> [UInt8]
    private var choices: [AnswerChoice]
    private var readers: [ToolCallReader]
    private var isOver = false
    /// Of the finished answer, for headers.
    package private(set) var usage = TokenUsage()
    package private(set) var timings = GenerationTimings()

    package init(_ head: AnswerHead, options: GenerationOptions) {
        self.init(options) { OpenAIWriter.answer(head, $0, usage: $1) }
    }

    /// - Parameter write: makes the body.
    init(_ options: GenerationOptions, write: @escaping ([AnswerChoice], TokenUsage) -> [UInt8]) {
        self.write = write
        choices = (0..<options.choices).map { _ in AnswerChoice(logprobs: options.wantLogprobs ? [] : nil) }
        readers = choices.map { _ in ToolCallReader(options.form) }
    }

    /// The body of the answer, or the error, once the last event came; what comes after it is nothing.
    package mutating func add(_ event: GenerationEvent, choice: Int = 0) -> Result<[UInt8], OpenAIError>? {
        guard !isOver else { return nil }
        switch event {
        case .queued, .started, .embedding, .tokens, .inferred: return nil
        case .text(let more, let logprobs):
            add(more, logprobs, choice)
            return nil
        case .finished(let reason, let usage, let timings):
            choices[choice].reason = OpenAIWriter.word(for: reason, isCall: readers[choice].isComplete)
            choices[choice].cutBy = usage.cutBy
            choices[choice].stop = usage.stop
            self.usage.add(usage)
            self.timings.widen(timings)
            isOver = choices.allSatisfy { $0.reason != nil }
            return isOver ? .success(write(choices, self.usage)) : nil
        case .failed(let error):
            isOver = true
            return .failure(error)
        }
    }

    private mutating func add(_ text: String, _ logprobs: [TokenLogprob], _ choice: Int) {
        for part in readers[choice].push(text) {
            switch part {
            case .content(let more):
                choices[choice].text += more
                choices[choice].logprobs?.append(contentsOf: logprobs)
            case .call(let name): choices[choice].call = AnswerChoice.Call(id: ToolCallReader.newID(), name: name)
            case .arguments(let more): choices[choice].call?.arguments += more
            }
        }
    }
}

extension TokenUsage {
    /// Answers of one request share its prompt.
    mutating func add(_ other: TokenUsage) {
        promptTokens = max(promptTokens, other.promptTokens)
        cachedTokens = max(cachedTokens, other.cachedTokens)
        completionTokens += other.completionTokens
    }
}

extension GenerationTimings {
    /// Answers of one request are made beside each other: the longest time counts.
    fileprivate mutating func widen(_ other: GenerationTimings) {
        load = max(load, other.load)
        queue = max(queue, other.queue)
        prefill = max(prefill, other.prefill)
        decode = max(decode, other.decode)
    }
}

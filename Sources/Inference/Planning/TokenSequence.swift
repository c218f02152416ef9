// One answer in the making, seen by the planner: how many tokens it holds, and what it needs next.

/// Names one generation; never reused while the host runs.
package struct GenerationID: Hashable, Sendable {
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
}

/// Why an answer ended.
package enum FinishReason: String, Sendable {
    /// The model ended it, or a stop string came.
    case stop
    /// `max_tokens` is reached.
    case length
    /// The caller left.
    case cancelled
}

/// A sequence from its arrival to its last token. Its place in the engine, its slot, is given by the planner.
struct TokenSequence {
    enum Phase: Equatable {
        /// Waits for a slot and for key/value memory.
        case waiting
        /// The engine was told to start it.
        case starting
        /// Parts of its prompt are still to be read.
        case prefilling
        /// Grows by one token a step.
        case decoding
    }

    let id: GenerationID
    let promptTokens: Int
    let maxTokens: Int
    private(set) var phase = Phase.waiting
    private(set) var slot: UInt32?
    /// Tokens the engine holds for it.
    private(set) var held = 0
    /// Tokens picked so far.
    private(set) var generated = 0
    /// The step that served it last; the planner serves the longest unserved first.
    var lastServed: UInt64 = 0

    init(id: GenerationID, promptTokens: Int, maxTokens: Int) {
        self.id = id
        self.promptTokens = promptTokens
        self.maxTokens = maxTokens
    }

    /// Tokens it may come to hold.
    var reserved: Int { promptTokens + maxTokens }

    /// Prompt tokens that the engine doesn't hold yet.
    var unread: Int { promptTokens - min(held, promptTokens) }

    mutating func admit(slot: UInt32) {
        precondition(phase == .waiting)
        self.slot = slot
        phase = .starting
    }

    mutating func started() {
        precondition(phase == .starting)
        phase = .prefilling
    }

    /// Takes in what a step did.
    /// - Parameters:
    ///   - count: tokens the engine took.
    ///   - sampled: a token was picked.
    ///   - ended: the picked token ends the answer.
    /// - Returns: why the answer is over, or nil.
    mutating func advance(by count: Int, sampled: Bool, ended: Bool) -> FinishReason? {
        precondition(phase == .prefilling || phase == .decoding)
        held += count
        guard sampled else { return nil }
        phase = .decoding
        // The token that ends an answer has no text and isn't counted.
        if ended { return .stop }
        generated += 1
        return generated >= maxTokens ? .length : nil
    }
}

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

/// How long a request may wait for others.
package enum Priority: Int, Sendable, Comparable {
    /// Somebody waits for it.
    case interactive
    /// It gets what interactive requests leave, and makes way for them.
    case batch

    package static func < (left: Priority, right: Priority) -> Bool { left.rawValue < right.rawValue }
}

/// What the planner is asked to bring to its end.
package struct SequenceRequest: Sendable {
    package var id: GenerationID
    package var tenant: String
    package var weight = 1.0
    package var priority = Priority.interactive
    package var prompt: [Int32]
    package var maxTokens: Int

    package init(id: GenerationID, tenant: String, prompt: [Int32], maxTokens: Int) {
        self.id = id
        self.tenant = tenant
        self.prompt = prompt
        self.maxTokens = maxTokens
    }
}

/// A sequence from its arrival to its last token. Its place in the engine, its slot, is given by the planner.
struct TokenSequence {
    enum Phase: Equatable {
        /// Waits for a slot and for key/value memory.
        case waiting
        /// The engine was told to start it.
        case starting
        /// Advances with the steps.
        case running
    }

    let request: SequenceRequest
    private(set) var phase = Phase.waiting
    private(set) var slot: UInt32?
    /// Tokens the engine holds for it.
    private(set) var held = 0
    /// Tokens picked so far.
    private(set) var generated = 0
    /// Its state was saved, so that nothing has to be read again.
    private(set) var isSaved = false
    /// Its state is on its way out of the engine; it can't come back before it is there.
    private(set) var isSaving = false
    /// The engine would not begin it with what was kept: it is read whole.
    var mustRead = false
    /// What its tenant was charged for, of the prompt.
    var charged = 0
    /// The step that served it last; the planner serves the longest unserved first.
    var lastServed: UInt64 = 0

    init(_ request: SequenceRequest) { self.request = request }

    /// Prompt and answer so far.
    var known: Int { request.prompt.count + generated }

    /// Tokens that the engine doesn't hold yet; 1 is the token picked last.
    var unread: Int { known - held }

    var isDecoding: Bool { phase == .running && generated > 0 && unread == 1 }
    var isReading: Bool { phase == .running && !isDecoding }

    /// Room that it will need soon: what it knows, and a few tokens more.
    func demand(lookahead: Int) -> Int { known + min(request.maxTokens - generated, lookahead) }

    mutating func admit(slot: UInt32, holding tokens: Int) {
        precondition(phase == .waiting)
        self.slot = slot
        held = tokens
        isSaved = false
        phase = .starting
    }

    mutating func started() {
        precondition(phase == .starting)
        phase = .running
    }

    /// It lost its place. With `saving` its state comes back whole; else all of it is read again.
    mutating func suspend(saving: Bool) {
        phase = .waiting
        slot = nil
        isSaving = saving
        if !saving { held = 0 }
    }

    /// Its state is safe, or lost.
    mutating func saved(_ good: Bool) {
        isSaving = false
        isSaved = good
        if !good { held = 0 }
    }

    /// Takes in what a step did.
    /// - Parameters:
    ///   - count: tokens the engine took.
    ///   - sampled: a token was picked.
    ///   - ended: the picked token ends the answer.
    /// - Returns: why the answer is over, or nil.
    mutating func advance(by count: Int, sampled: Bool, ended: Bool) -> FinishReason? {
        precondition(phase == .running)
        held += count
        guard sampled else { return nil }
        // The token that ends an answer has no text and isn't counted.
        if ended { return .stop }
        generated += 1
        return generated >= request.maxTokens ? .length : nil
    }
}

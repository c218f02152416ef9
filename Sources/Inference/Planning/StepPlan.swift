// What the planner decided: places in the engine, and one pass of it, sequence by sequence.

/// A change of who is in the engine; the engine makes them in their order.
package enum Placement: Equatable, Sendable {
    /// Saves the sequence's state, when the engine can, and drops it.
    case swapOut(GenerationID, slot: UInt32)
    /// Drops a prefix that was kept for later; its slot is given to somebody else.
    case evict(KeptPrefix)
    case start(SequenceStart)
}

/// A sequence gets its place in the engine.
package struct SequenceStart: Equatable, Sendable {
    package enum Source: Equatable, Sendable {
        case nothing
        /// The first tokens of another sequence's.
        case prefix(slot: UInt32, tokens: Int)
        /// The first tokens of a state that the host has kept; named by `StoredPrefix.id`.
        case stored(UInt64, tokens: Int)
        /// The sequence's own state, saved when it was swapped out.
        case savedState
    }

    package let id: GenerationID
    package let slot: UInt32
    package let source: Source
}

/// One step: at most one item a sequence.
package struct StepPlan: Equatable, Sendable {
    package struct Item: Equatable, Sendable {
        package let id: GenerationID
        package let slot: UInt32
        /// Tokens that the sequence holds before the step.
        package let position: Int
        /// Tokens it gets: parts of what it has to read, or the one token picked last.
        package let count: Int
        package let isPrompt: Bool
        /// A token is picked behind the last one.
        package let samples: Bool
        /// Its token is the one that the step before picks, which nobody knows yet.
        package var follows = false
    }

    package let items: [Item]

    package var tokens: Int { items.reduce(0) { $0 + $1.count } }
    package var decodes: Int { items.count { !$0.isPrompt } }
    package var reads: Int { tokens - decodes }
}

// What the planner decided: one pass of the engine, sequence by sequence.

/// A sequence gets its place in the engine.
package struct SequenceStart: Equatable, Sendable {
    package let id: GenerationID
    package let slot: UInt32
}

/// One step: at most one item a sequence.
package struct StepPlan: Equatable, Sendable {
    package struct Item: Equatable, Sendable {
        package let id: GenerationID
        package let slot: UInt32
        /// Tokens that the sequence holds before the step.
        package let position: Int
        /// Tokens it gets: parts of the prompt, or the one token picked last.
        package let count: Int
        package let isPrompt: Bool
        /// A token is picked behind the last one.
        package let samples: Bool
    }

    package let items: [Item]

    package var tokens: Int { items.reduce(0) { $0 + $1.count } }
}

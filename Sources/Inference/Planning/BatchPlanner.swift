// Decides which sequences advance by how many tokens in the next step. Pure: ModelRunner does what it says.

/// The running and waiting sequences of one model.
///
/// Each step first carries every running answer on by one token, then reads prompts with what is left, in small even
/// shares, so that a long prompt delays nobody's stream by more than `prefillBesideDecode` tokens.
package struct BatchPlanner {
    package struct Limits: Equatable, Sendable {
        package var maxSequences: Int
        package var maxStepTokens: Int
        /// Tokens of key/value memory over all sequences.
        package var contextTokens: Int
        /// Tokens one sequence may hold.
        package var sequenceTokens: Int
        /// Prompt tokens in a step that also carries answers on.
        package var prefillBesideDecode = 64
        /// Prompt tokens that one sequence gets before the next one has its turn.
        package var prefillQuantum = 32

        package init(maxSequences: Int, maxStepTokens: Int, contextTokens: Int, sequenceTokens: Int) {
            self.maxSequences = maxSequences
            self.maxStepTokens = maxStepTokens
            self.contextTokens = contextTokens
            self.sequenceTokens = sequenceTokens
        }
    }

    package let limits: Limits
    /// By arrival, waiting ones included.
    private var sequences: [TokenSequence] = []
    private var freeSlots: [UInt32]
    private var reservedTokens = 0
    private var steps: UInt64 = 0

    package init(limits: Limits) {
        self.limits = limits
        // One token of a step is never a running answer's, so that prompts are read however many answers run.
        let together = min(limits.maxSequences, max(1, limits.maxStepTokens - 1))
        // The lowest slot is taken first.
        freeSlots = (0..<UInt32(max(0, together))).reversed()
    }

    package var waiting: Int { sequences.count { $0.phase == .waiting } }
    package var running: Int { sequences.count - waiting }
    package var isEmpty: Bool { sequences.isEmpty }

    /// True when prompt and answer fit into one sequence, and so also into an otherwise empty engine.
    package func fits(promptTokens: Int, maxTokens: Int) -> Bool {
        promptTokens >= 1 && maxTokens >= 1 && promptTokens + maxTokens <= roomForOne
    }

    /// Tokens that one sequence could hold if it were alone.
    package var roomForOne: Int { min(limits.sequenceTokens, limits.contextTokens) }

    // MARK: coming and going

    /// Takes in a sequence that `fits`.
    package mutating func add(_ id: GenerationID, promptTokens: Int, maxTokens: Int) {
        precondition(fits(promptTokens: promptTokens, maxTokens: maxTokens), "a sequence that can never run")
        sequences.append(TokenSequence(id: id, promptTokens: promptTokens, maxTokens: maxTokens))
    }

    /// Gives slots to waiting sequences in their order, as long as there is a slot and memory for the next one.
    package mutating func admit() -> [SequenceStart] {
        var starts: [SequenceStart] = []
        for index in sequences.indices where sequences[index].phase == .waiting {
            // Nobody overtakes: a long request would starve behind short ones.
            guard reservedTokens + sequences[index].reserved <= limits.contextTokens, let slot = freeSlots.popLast()
            else {
                break
            }
            reservedTokens += sequences[index].reserved
            sequences[index].admit(slot: slot)
            starts.append(SequenceStart(id: sequences[index].id, slot: slot))
        }
        return starts
    }

    /// The engine has started the sequence.
    package mutating func started(_ id: GenerationID) {
        guard let index = index(of: id) else { return }
        sequences[index].started()
    }

    /// Forgets a sequence that ended, failed or was cancelled. Steps already on their way are not its concern.
    /// - Returns: the slot that the engine must drop, unless the sequence never had one.
    package mutating func remove(_ id: GenerationID) -> UInt32? {
        guard let index = index(of: id) else { return nil }
        let sequence = sequences.remove(at: index)
        guard let slot = sequence.slot else { return nil }
        reservedTokens -= sequence.reserved
        freeSlots.append(slot)
        return slot
    }

    private func index(of id: GenerationID) -> Int? { sequences.firstIndex { $0.id == id } }

    // MARK: steps

    /// Plans the next step; nil when no sequence can advance.
    package mutating func plan() -> StepPlan? {
        let turn = sequences.indices.sorted {
            (sequences[$0].lastServed, $0) < (sequences[$1].lastServed, $1)
        }
        var budget = limits.maxStepTokens
        var items: [StepPlan.Item] = []
        for index in turn where sequences[index].phase == .decoding && budget > 0 {
            items.append(item(index, count: 1))
            budget -= 1
        }
        if !items.isEmpty { budget = min(budget, limits.prefillBesideDecode) }
        let readers = turn.filter { sequences[$0].phase == .prefilling }
        for (index, count) in zip(readers, shares(of: budget, among: readers)) where count > 0 {
            items.append(item(index, count: count))
        }
        guard !items.isEmpty else { return nil }
        steps += 1
        for item in items {
            if let index = index(of: item.id) { sequences[index].lastServed = steps }
        }
        return StepPlan(items: items)
    }

    /// Takes in what a step did for one sequence; unknown ones left in the meantime.
    package mutating func advance(_ item: StepPlan.Item, ended: Bool) -> FinishReason? {
        guard let index = index(of: item.id) else { return nil }
        return sequences[index].advance(by: item.count, sampled: item.samples, ended: ended)
    }

    /// Deals `budget` prompt tokens out, a quantum at a time, to the readers in their order.
    private func shares(of budget: Int, among readers: [Int]) -> [Int] {
        var shares = [Int](repeating: 0, count: readers.count)
        var left = min(budget, readers.reduce(0) { $0 + sequences[$1].unread })
        while left > 0 {
            for (place, index) in readers.enumerated() {
                let grant = min(limits.prefillQuantum, sequences[index].unread - shares[place], left)
                shares[place] += grant
                left -= grant
            }
        }
        return shares
    }

    private func item(_ index: Int, count: Int) -> StepPlan.Item {
        let sequence = sequences[index]
        guard let slot = sequence.slot else { preconditionFailure("a sequence without a slot was planned") }
        let isPrompt = sequence.phase == .prefilling
        return StepPlan.Item(
            id: sequence.id, slot: slot, position: sequence.held, count: count, isPrompt: isPrompt,
            samples: !isPrompt || count == sequence.unread)
    }
}

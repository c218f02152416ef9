// Who is in the engine, and what each step does there. Pure: ModelRunner does what it says. BatchPlanner+Steps plans steps.
internal import Platform

/// The running and waiting sequences of one model.
///
/// Who is placed next is up to `TokenFairQueue`. Memory is given for what a sequence holds and will need soon, not for all
/// it may ever need: when it runs short, kept prefixes go first, then the sequence of whoever is furthest ahead makes way
/// and comes back later.
package struct BatchPlanner {
    package struct Limits: Equatable, Sendable {
        package var maxSequences: Int
        package var maxStepTokens: Int
        /// Tokens of key/value memory over all sequences.
        package var contextTokens: Int
        /// Tokens one sequence may hold.
        package var sequenceTokens: Int
        /// The engine can give one sequence the first tokens of another.
        package var copiesPrefixes = false
        /// The engine can save a sequence and restore it.
        package var savesState = false
        /// What prompts may add to a step that carries answers on, and what answers of several tenants may take of one, in
        /// nanoseconds.
        package var stall = 50e6
        /// The longest step that reads prompts only: whoever comes next waits that long.
        package var longestRead = 250e6
        /// Tokens of its answer that a sequence is given memory for ahead.
        package var lookahead = 64
        /// A tenant that got so much more than another (in units of `TokenFairQueue`) makes way even with its last sequence.
        package var preemptionLead = 4096.0

        package init(maxSequences: Int, maxStepTokens: Int, contextTokens: Int, sequenceTokens: Int) {
            self.maxSequences = maxSequences
            self.maxStepTokens = maxStepTokens
            self.contextTokens = contextTokens
            self.sequenceTokens = sequenceTokens
        }
    }

    package let limits: Limits
    /// By arrival, waiting ones included.
    var sequences: [TokenSequence] = []
    package internal(set) var fair: TokenFairQueue
    var cost = StepCost()
    private(set) var prefixes = PrefixCache()
    private var freeSlots: [UInt32]
    var steps: UInt64 = 0
    /// When every running answer was last carried on.
    var lastFullStep = MonotonicTime(nanoseconds: 0)

    package init(limits: Limits, costs: TokenFairQueue.Costs = TokenFairQueue.Costs()) {
        self.limits = limits
        fair = TokenFairQueue(costs: costs)
        // One token of a step is never a running answer's, so that prompts are read however many answers run.
        let together = min(limits.maxSequences, max(1, limits.maxStepTokens - 1))
        // The lowest slot is taken first.
        freeSlots = (0..<UInt32(max(0, together))).reversed()
    }

    package var waiting: Int { sequences.count { $0.phase == .waiting } }
    package var running: Int { sequences.count - waiting }
    package var isEmpty: Bool { sequences.isEmpty }

    package var cacheUse: CacheUse {
        CacheUse(
            running: sequences.reduce(0) { $0 + ($1.slot == nil ? 0 : $1.held) }, prefixes: prefixes.tokens,
            capacity: limits.contextTokens)
    }

    /// True when prompt and answer fit into one sequence, and so also into an otherwise empty engine.
    package func fits(promptTokens: Int, maxTokens: Int) -> Bool {
        promptTokens >= 1 && maxTokens >= 1 && promptTokens + maxTokens <= roomForOne
    }

    /// Tokens that one sequence could hold if it were alone.
    package var roomForOne: Int { min(limits.sequenceTokens, limits.contextTokens) }

    func index(of id: GenerationID) -> Int? { sequences.firstIndex { $0.request.id == id } }

    // MARK: coming and going

    /// Takes in a sequence that `fits`.
    package mutating func add(_ request: SequenceRequest) {
        precondition(
            fits(promptTokens: request.prompt.count, maxTokens: request.maxTokens), "a sequence that can never run")
        sequences.append(TokenSequence(request))
        fair.arrive(request.tenant)
    }

    /// The engine has started the sequence.
    package mutating func started(_ id: GenerationID) {
        guard let index = index(of: id) else { return }
        sequences[index].started()
    }

    /// True while a swapped-out sequence's state is on its way out of the engine.
    package func isSaving(_ id: GenerationID) -> Bool { index(of: id).map { sequences[$0].isSaving } ?? false }

    /// A swapped-out sequence's state has arrived; or it has not, and all of it is read again.
    package mutating func saved(_ id: GenerationID, _ good: Bool) {
        guard let index = index(of: id), sequences[index].isSaving || sequences[index].isSaved else { return }
        sequences[index].saved(good)
    }

    /// The engine could not take a state back: the sequence waits for its turn again. Returns the slot to drop.
    package mutating func startOver(_ id: GenerationID) -> UInt32? {
        guard let index = index(of: id), let slot = sequences[index].slot else { return nil }
        sequences[index].suspend(saving: false)
        freeSlots.append(slot)
        return slot
    }

    /// Forgets a sequence that ended, failed or was cancelled. Steps already on their way are not its concern.
    ///
    /// - Parameter tokens: prompt and answer of a sequence that is worth keeping for its tenant's next prompt.
    /// - Returns: slots that the engine must drop.
    package mutating func remove(_ id: GenerationID, keeping tokens: [Int32]? = nil) -> [UInt32] {
        guard let index = index(of: id) else { return [] }
        let sequence = sequences.remove(at: index)
        let request = sequence.request
        // Prompt tokens that were booked and never read.
        let unread = max(0, min(sequence.charged, request.prompt.count - sequence.held))
        fair.charge(request.tenant, weight: request.weight, input: -unread)
        fair.leave(request.tenant)
        guard let slot = sequence.slot else { return [] }
        guard limits.copiesPrefixes, sequence.phase == .running, let tokens, sequence.held >= PrefixCache.shortest,
            sequence.held <= tokens.count
        else {
            freeSlots.append(slot)
            return [slot]
        }
        let covered = prefixes.insert(slot: slot, tenant: request.tenant, tokens: Array(tokens[..<sequence.held]))
        freeSlots += covered
        return covered
    }

    // MARK: places

    /// Gives places to waiting sequences, as long as there is a slot and memory, and takes them from who must make way.
    package mutating func place() -> [Placement] {
        var placements: [Placement] = []
        shrink(&placements)
        while let index = nextWaiting() {
            let sequence = sequences[index]
            var source =
                sequence.isSaved || !limits.copiesPrefixes
                ? nil : prefixes.find(sequence.request.prompt, tenant: sequence.request.tenant)
            guard makeRoom(for: index, sparing: &source, &placements), let slot = freeSlots.popLast() else { break }
            admit(index, slot: slot, source, &placements)
        }
        return placements
    }

    /// Memory promised to those in the engine.
    private var demand: Int {
        sequences.reduce(prefixes.tokens) { $0 + ($1.slot == nil ? 0 : $1.demand(lookahead: limits.lookahead)) }
    }

    /// The sequences in the engine have grown: some may have to go.
    private mutating func shrink(_ placements: inout [Placement]) {
        while demand > limits.contextTokens {
            if let slot = prefixes.evict() {
                free(slot, &placements)
            } else if let victim = furthestAhead(where: { _ in true }), running > 1 {
                swapOut(victim, &placements)
            } else {
                return
            }
        }
    }

    /// Whose turn it is to get a place.
    private func nextWaiting() -> Int? {
        var first: [String: Int] = [:]
        let candidates = sequences.indices.filter { sequences[$0].phase == .waiting && !sequences[$0].isSaving }
        guard let highest = candidates.lazy.map({ sequences[$0].request.priority }).min() else { return nil }
        for index in candidates where sequences[index].request.priority == highest {
            let tenant = sequences[index].request.tenant
            if first[tenant] == nil { first[tenant] = index }
        }
        let waiting = first.map { tenant, index in
            let kept =
                prefixes.entries.isEmpty
                ? 0 : prefixes.find(sequences[index].request.prompt, tenant: tenant)?.tokens ?? 0
            return (tenant: tenant, held: kept)
        }
        return fair.next(waiting).flatMap { first[$0] }
    }

    private mutating func makeRoom(
        for index: Int, sparing source: inout (slot: UInt32, tokens: Int)?, _ placements: inout [Placement]
    ) -> Bool {
        let needed = sequences[index].demand(lookahead: limits.lookahead)
        while freeSlots.isEmpty || demand + needed > limits.contextTokens {
            if let slot = prefixes.evict(sparing: source?.slot) {
                free(slot, &placements)
            } else if let victim = furthestAhead(where: { mustMakeWay($0, for: sequences[index]) }) {
                swapOut(victim, &placements)
            } else if let slot = prefixes.evict() {
                // Reading it again is better than waiting.
                source = nil
                free(slot, &placements)
            } else {
                return false
            }
        }
        return true
    }

    private func mustMakeWay(_ sequence: TokenSequence, for other: TokenSequence) -> Bool {
        let (mine, theirs) = (sequence.request, other.request)
        if theirs.priority < mine.priority { return true }
        guard theirs.priority == mine.priority, theirs.tenant != mine.tenant else { return false }
        let lead = fair.counter(of: mine.tenant) - fair.counter(of: theirs.tenant)
        if lead > limits.preemptionLead { return true }
        return lead >= 0 && placesHeld(by: theirs.tenant) == 0 && placesHeld(by: mine.tenant) > 1
    }

    func placesHeld(by tenant: String) -> Int {
        sequences.count { $0.slot != nil && $0.request.tenant == tenant }
    }

    /// Of those that may go: the least urgent, of whoever got most, the one that holds least and is saved soonest.
    private func furthestAhead(where mayGo: (TokenSequence) -> Bool) -> Int? {
        sequences.indices.filter { sequences[$0].phase == .running && mayGo(sequences[$0]) }.max {
            let (left, right) = (sequences[$0], sequences[$1])
            return (left.request.priority, fair.counter(of: left.request.tenant), -left.held, $0)
                < (right.request.priority, fair.counter(of: right.request.tenant), -right.held, $1)
        }
    }

    private mutating func free(_ slot: UInt32, _ placements: inout [Placement]) {
        freeSlots.append(slot)
        placements.append(.evict(slot: slot))
    }

    private mutating func swapOut(_ index: Int, _ placements: inout [Placement]) {
        guard let slot = sequences[index].slot else { return }
        sequences[index].suspend(saving: limits.savesState && sequences[index].held > 0)
        freeSlots.append(slot)
        placements.append(.swapOut(sequences[index].request.id, slot: slot))
    }

    private mutating func admit(
        _ index: Int, slot: UInt32, _ source: (slot: UInt32, tokens: Int)?, _ placements: inout [Placement]
    ) {
        let request = sequences[index].request
        var from = SequenceStart.Source.nothing
        var held = 0
        if sequences[index].isSaved {
            from = .savedState
            held = sequences[index].held
        } else if let source {
            from = .prefix(slot: source.slot, tokens: source.tokens)
            held = source.tokens
            prefixes.touch(source.slot)
        }
        // Once: what has to be read again because it made way is not its tenant's fault.
        if sequences[index].charged == 0 {
            sequences[index].charged = request.prompt.count - held
            fair.charge(request.tenant, weight: request.weight, input: request.prompt.count - held)
        }
        sequences[index].admit(slot: slot, holding: held)
        placements.append(.start(SequenceStart(id: request.id, slot: slot, source: from)))
    }
}

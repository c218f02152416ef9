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
        /// What prompts may add to a step that carries answers on, in nanoseconds; beside a light tenant's answer, all of a step.
        package var stall = 50e6
        /// The longest step that reads prompts only: whoever comes next waits that long.
        package var longestRead = 250e6
        /// The longest step that is planned while another runs.
        package var longestAhead = 20e6
        /// Tokens of its answer that a sequence is given memory for ahead.
        package var lookahead = 64
        /// A tenant that got so much more than another (in units of `TokenFairQueue`) makes way even with its last sequence.
        package var preemptionLead = 4096.0
        /// A tenant with no more places than these is a light one.
        package var fewPlaces = 2
        /// Steps for which the place of a light tenant whose answer ended is kept for its next request.
        package var keptPlaceSteps: UInt64 = 10

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
    var prefixes = PrefixCache()
    var freeSlots: [UInt32]
    /// Light tenants that have just left, and the step until which nobody heavier gets their place.
    private var kept: [String: UInt64] = [:]
    var steps: UInt64 = 0
    /// When every running answer was last carried on.
    var lastFullStep = MonotonicTime(nanoseconds: 0)

    package init(limits: Limits, costs: TokenFairQueue.Costs = TokenFairQueue.Costs()) {
        self.limits = limits
        fair = TokenFairQueue(costs: costs)
        // One token of a step is never a running answer's, so that prompts are read however many answers run.
        let together = min(limits.maxSequences, max(1, limits.maxStepTokens - 1))
        freeSlots = Array(0..<UInt32(max(0, together)))
    }

    package var waiting: Int { sequences.count { $0.phase == .waiting } }
    package var running: Int { sequences.count - waiting }
    package var isEmpty: Bool { sequences.isEmpty }
    /// True when `plan` has a step.
    var canStep: Bool { sequences.contains { $0.phase == .running } }

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
        sequences[index].mustRead = true
        freeSlots.append(slot)
        return slot
    }

    /// Forgets a sequence that ended, failed or was cancelled. Steps already on their way are not its concern.
    ///
    /// - Parameters:
    ///   - tokens: prompt and answer of a sequence that is worth keeping for its tenant's next prompt.
    ///   - published: it is kept for everybody.
    /// - Returns: slots that the engine must drop.
    package mutating func remove(
        _ id: GenerationID, keeping tokens: [Int32]? = nil, published: Bool = false
    ) -> [UInt32] {
        guard let index = index(of: id) else { return [] }
        let sequence = sequences.remove(at: index)
        let request = sequence.request
        // Prompt tokens that were booked and never read.
        let unread = max(0, min(sequence.charged, request.prompt.count - sequence.held))
        fair.charge(request.tenant, weight: request.weight, input: -unread)
        guard let slot = sequence.slot else {
            fair.leave(request.tenant)
            return []
        }
        keepPlace(of: request)
        fair.leave(request.tenant)
        guard limits.copiesPrefixes, sequence.phase == .running, let tokens, sequence.held >= PrefixCache.shortest,
            sequence.held <= tokens.count
        else {
            freeSlots.append(slot)
            return [slot]
        }
        let covered = prefixes.insert(
            slot: slot, tenant: published ? nil : request.tenant, tokens: Array(tokens[..<sequence.held]))
        freeSlots += covered
        return covered
    }

    // MARK: places

    /// Gives places to waiting sequences, as long as there is a slot and memory, and takes them from who must make way.
    ///
    /// - Parameter stored: a prefix of the sequence's prompt that the host has and that is worth more than the given number of
    ///   tokens, which are in the engine.
    package mutating func place(stored: (SequenceRequest, _ beyond: Int) -> StoredPrefix? = { _, _ in nil })
        -> [Placement]
    {
        var placements: [Placement] = []
        shrink(&placements)
        while let index = nextWaiting() {
            let sequence = sequences[index]
            let mayBegin = !sequence.isSaved && !sequence.mustRead
            var source =
                mayBegin && limits.copiesPrefixes
                ? prefixes.find(sequence.request.prompt, tenant: sequence.request.tenant) : nil
            let better = mayBegin ? stored(sequence.request, source?.tokens ?? 0) : nil
            if better != nil { source = nil }
            guard makeRoom(for: index, sparing: &source, &placements), let slot = lowestFreeSlot() else { break }
            admit(index, slot: slot, source, better, &placements)
        }
        return placements
    }

    /// Those in use stay close together, so that an engine may compute them at once.
    private mutating func lowestFreeSlot() -> UInt32? {
        freeSlots.indices.min { freeSlots[$0] < freeSlots[$1] }.map { freeSlots.remove(at: $0) }
    }

    /// Memory promised to those in the engine.
    var demand: Int {
        sequences.reduce(prefixes.tokens) { $0 + ($1.slot == nil ? 0 : $1.demand(lookahead: limits.lookahead)) }
    }

    /// The sequences in the engine have grown: some may have to go.
    private mutating func shrink(_ placements: inout [Placement]) {
        while demand > limits.contextTokens {
            if let kept = prefixes.evict() {
                free(kept, &placements)
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
        let heldBack = kept.isEmpty ? [] : Set(sequences.lazy.map(\.request.tenant)).filter(isHeldBack)
        let candidates = sequences.indices.filter {
            sequences[$0].phase == .waiting && !sequences[$0].isSaving
                && !heldBack.contains(sequences[$0].request.tenant)
        }
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

    /// Taking a place back from a heavy tenant means to save what it holds, which everyone waits for: so one whose answer ended
    /// and who is likely to come back at once finds its place free.
    private mutating func keepPlace(of request: SequenceRequest) {
        let lead = fair.counter(of: request.tenant) - fair.costs.localityDeficit
        guard request.priority == .interactive, !sequences.contains(where: { $0.request.tenant == request.tenant }),
            sequences.contains(where: { fair.counter(of: $0.request.tenant) >= lead })
        else { return }
        kept = kept.filter { $0.value > steps }
        kept[request.tenant] = steps + limits.keptPlaceSteps
    }

    /// A light tenant has just left, and is likely to come back.
    var expectsLight: Bool { kept.contains { $0.value > steps && placesHeld(by: $0.key) == 0 } }

    /// True for a tenant with many places while all that are left are kept for others.
    private func isHeldBack(_ tenant: String) -> Bool {
        guard !isLight(tenant) else { return false }
        let absent = kept.count { other, until in
            until > steps && other != tenant && placesHeld(by: other) == 0
        }
        let free = freeSlots.count + prefixes.entries.count(where: { $0.tenant != nil })
        return absent > 0 && free <= min(absent, limits.maxSequences / 8)
    }

    private mutating func makeRoom(
        for index: Int, sparing source: inout (slot: UInt32, tokens: Int)?, _ placements: inout [Placement]
    ) -> Bool {
        let needed = sequences[index].demand(lookahead: limits.lookahead)
        while freeSlots.isEmpty || demand + needed > limits.contextTokens {
            if let kept = prefixes.evict(sparing: source?.slot) {
                free(kept, &placements)
            } else if let victim = furthestAhead(where: { mustMakeWay($0, for: sequences[index]) }) {
                swapOut(victim, &placements)
            } else if let kept = prefixes.evict() {
                // Reading it again is better than waiting.
                source = nil
                free(kept, &placements)
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

    func isLight(_ tenant: String) -> Bool { placesHeld(by: tenant) <= limits.fewPlaces }

    private func placesHeld(by tenant: String) -> Int {
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

    private mutating func free(_ kept: KeptPrefix, _ placements: inout [Placement]) {
        freeSlots.append(kept.slot)
        placements.append(.evict(kept))
    }

    private mutating func swapOut(_ index: Int, _ placements: inout [Placement]) {
        guard let slot = sequences[index].slot else { return }
        sequences[index].suspend(saving: limits.savesState && sequences[index].held > 0)
        freeSlots.append(slot)
        placements.append(.swapOut(sequences[index].request.id, slot: slot))
    }

    private mutating func admit(
        _ index: Int, slot: UInt32, _ source: (slot: UInt32, tokens: Int)?, _ stored: StoredPrefix?,
        _ placements: inout [Placement]
    ) {
        let request = sequences[index].request
        var from = SequenceStart.Source.nothing
        var held = 0
        if sequences[index].isSaved {
            from = .savedState
            held = sequences[index].held
        } else if let stored {
            from = .stored(stored.id, tokens: stored.tokens)
            held = stored.tokens
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

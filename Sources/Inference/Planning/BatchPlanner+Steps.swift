// What the next step does: every running answer by a token, and prompts for as long as streams can bear it.
package import Platform

extension BatchPlanner {
    /// Prompt tokens that a tenant gets before the next one has its turn, and the fewest in a step.
    private static var quantum: Int { 32 }
    private static var fewestReads: Int { 4 }
    private static var fewestDecodes: Int { 2 }
    /// How long running answers may be left out, in nanoseconds.
    private static var patience: UInt64 { 300_000_000 }
    /// The part of an express step that carries answers on.
    private static var companions: Double { 0.25 }

    /// Plans the next step; nil when no sequence can advance.
    package mutating func plan(now: MonotonicTime) -> StepPlan? {
        let turn = sequences.indices.sorted { (sequences[$0].lastServed, $0) < (sequences[$1].lastServed, $1) }
        let decoders = turn.filter { sequences[$0].isDecoding }
        let readers = sequences.indices.filter { sequences[$0].isReading }
        let express = expressReaders(readers, decoders, now: now)
        let items = express.isEmpty ? fullStep(decoders, readers) : expressStep(express, decoders)
        guard !items.isEmpty else { return nil }
        if express.isEmpty { lastFullStep = now }
        steps += 1
        for item in items {
            if let index = index(of: item.id) { sequences[index].lastServed = steps }
        }
        // By slot: llama.cpp computes sequences of parts of their own together as long as their numbers follow each other.
        return StepPlan(items: items.sorted { $0.slot < $1.slot })
    }

    /// Plans the step behind one that is on its way, so that the engine need not wait to be told what is plain: the same answers
    /// go on, each with the token that is being picked. Nil when there is more to decide, or when steps are so long that the
    /// engine's wait is nothing, and that of a request that comes meanwhile is.
    package mutating func planAhead(of plan: StepPlan) -> StepPlan? {
        guard plan.items.count == sequences.count, demand + plan.items.count <= limits.contextTokens,
            cost.nanoseconds(decodes: plan.items.count, reads: 0) <= limits.longestAhead
        else { return nil }
        for item in plan.items {
            guard item.samples, let index = index(of: item.id), sequences[index].phase == .running,
                sequences[index].generated + 1 < sequences[index].request.maxTokens
            else { return nil }
        }
        let items = plan.items.map {
            StepPlan.Item(
                id: $0.id, slot: $0.slot, position: $0.position + $0.count, count: 1, isPrompt: false, samples: true,
                follows: true)
        }
        steps += 1
        return StepPlan(items: items)
    }

    /// Takes in what a step did for one sequence; unknown ones left in the meantime.
    package mutating func advance(_ item: StepPlan.Item, ended: Bool) -> FinishReason? {
        guard let index = index(of: item.id), sequences[index].phase == .running else { return nil }
        if item.samples {
            let request = sequences[index].request
            fair.charge(request.tenant, weight: request.weight, output: 1)
        }
        return sequences[index].advance(by: item.count, sampled: item.samples, ended: ended)
    }

    /// Learns from a step how long steps take.
    package mutating func learn(_ plan: StepPlan, nanoseconds: UInt64) {
        cost.learn(decodes: plan.decodes, reads: plan.reads, nanoseconds: nanoseconds)
    }

    /// Divides the time of a step among its items, by what each is known to cost; the parts add up to all of it.
    package func shares(of nanoseconds: UInt64, _ plan: StepPlan) -> [UInt64] {
        let costs = plan.items.map { $0.isPrompt ? cost.perRead * Double($0.count) : cost.perDecode }
        let sum = costs.reduce(0, +)
        var shares = costs.map { UInt64(Double(nanoseconds) * $0 / sum) }
        shares[0] += nanoseconds - min(nanoseconds, shares.reduce(0, +))
        return shares
    }

    // MARK: kinds of steps

    private func fullStep(_ decoders: [Int], _ readers: [Int]) -> [StepPlan.Item] {
        let carried = isBesideLight(decoders) ? together(decoders, beside: readers) : decoders
        var items = carried.prefix(limits.maxStepTokens).map { item($0, count: 1) }
        for (index, count) in shares(
            of: min(limits.maxStepTokens - items.count, reads(beside: carried)), among: readers)
        {
            items.append(item(index, count: count))
        }
        return items
    }

    /// True when a tenant with few answers runs beside one with many, or has just left it: it asks for little, and a step may not be
    /// long for it, nor for its next request.
    private func isBesideLight(_ decoders: [Int]) -> Bool {
        let urgent = decoders.lazy.filter { self.sequences[$0].request.priority == .interactive }
        return (expectsLight || urgent.contains { self.isLight(self.sequences[$0].request.tenant) })
            && sequences.contains { $0.slot != nil && !isLight($0.request.tenant) }
    }

    /// Those of the running answers that a step carries on beside a light tenant's: who got least first, and a tenant's own take
    /// turns. Prompts get at least half of the time.
    private func together(_ decoders: [Int], beside readers: [Int]) -> [Int] {
        let time = readers.isEmpty ? limits.stall : limits.stall / 2
        let room = max(Self.fewestDecodes, Int(time / cost.perDecode))
        guard decoders.count > room else { return decoders }
        let order = decoders.enumerated().sorted {
            (counter($0.element), $0.offset) < (counter($1.element), $1.offset)
        }
        return order.prefix(room).map(\.element)
    }

    /// Prompt tokens for a step that carries these answers on.
    private func reads(beside decoders: [Int]) -> Int {
        let isBesideLight = isBesideLight(decoders)
        guard !decoders.isEmpty else {
            return max(Self.fewestReads, cost.reads(within: isBesideLight ? limits.stall : limits.longestRead))
        }
        let rest = isBesideLight ? cost.nanoseconds(decodes: decoders.count, reads: 0) : 0
        return max(Self.fewestReads, cost.reads(within: limits.stall - rest, decodes: decoders.count))
    }

    /// Prompts of tenants that have nothing in the engine yet, while others' answers run: they are read at once, and the answers
    /// wait for a moment. A tenant gets that only while it is not ahead of those it delays.
    private func expressReaders(_ readers: [Int], _ decoders: [Int], now: MonotonicTime) -> [Int] {
        guard !decoders.isEmpty, now.since(lastFullStep) < Self.patience else { return [] }
        let busy = Set(decoders.map { sequences[$0].request.tenant })
        let lowest = busy.map { fair.counter(of: $0) }.min() ?? 0
        return readers.filter { index in
            let (request, charged) = (sequences[index].request, sequences[index].charged)
            guard request.priority == .interactive, !busy.contains(request.tenant),
                isLight(request.tenant)
            else { return false }
            let before = fair.counter(of: request.tenant) - Double(charged) * fair.costs.input / request.weight
            return before <= lowest + fair.costs.localityDeficit
        }
    }

    private func expressStep(_ readers: [Int], _ decoders: [Int]) -> [StepPlan.Item] {
        let most = min(limits.maxStepTokens - 1, max(Self.fewestReads, cost.reads(within: limits.longestRead)))
        let dealt = shares(of: most, among: readers)
        let tokens = dealt.reduce(0) { $0 + $1.count }
        let room = Int(Self.companions * cost.perRead * Double(tokens) / cost.perDecode)
        // Those who got least first: a flood's many streams wait, a neighbour's one goes on.
        let order = decoders.sorted { (counter($0), $0) < (counter($1), $1) }
        let companions = order.prefix(min(room, limits.maxStepTokens - tokens))
        return companions.map { item($0, count: 1) } + dealt.map { item($0.index, count: $0.count) }
    }

    private func counter(_ index: Int) -> Double { fair.counter(of: sequences[index].request.tenant) }

    /// Deals `budget` prompt tokens out: interactive prompts first, a quantum at a time to each tenant, those who got least first; a
    /// tenant's own prompts in their order.
    private func shares(of budget: Int, among readers: [Int]) -> [(index: Int, count: Int)] {
        var left = budget
        var shares: [Int: Int] = [:]
        for priority in [Priority.interactive, .batch] {
            let own = readers.filter { sequences[$0].request.priority == priority }
            let tenants = Dictionary(grouping: own) { sequences[$0].request.tenant }
            let order = tenants.keys.sorted { (fair.counter(of: $0), $0) < (fair.counter(of: $1), $1) }
            var unserved = true
            while left > 0, unserved {
                unserved = false
                for tenant in order where left > 0 {
                    var quantum = min(Self.quantum, left)
                    for index in tenants[tenant] ?? [] where quantum > 0 {
                        let grant = min(quantum, sequences[index].unread - shares[index, default: 0])
                        guard grant > 0 else { continue }
                        shares[index, default: 0] += grant
                        quantum -= grant
                        left -= grant
                        unserved = true
                    }
                }
            }
        }
        return shares.sorted { $0.key < $1.key }.map { (index: $0.key, count: $0.value) }
    }

    private func item(_ index: Int, count: Int) -> StepPlan.Item {
        let sequence = sequences[index]
        guard let slot = sequence.slot else { preconditionFailure("a sequence without a slot was planned") }
        return StepPlan.Item(
            id: sequence.request.id, slot: slot, position: sequence.held, count: count, isPrompt: !sequence.isDecoding,
            samples: count == sequence.unread)
    }
}

// An engine that only counts, under the real planner: it checks every order it gets, and its time is what its steps cost.
import Platform
import TestSupport
import Testing

@testable import Inference

/// Plays ModelRunner and backend for a planner.
struct PlannerWorld {
    /// Nanoseconds.
    struct Speed {
        var fixed = 1e6
        var decode = 3e6
        var read = 1e6
    }

    var planner: BatchPlanner
    var speed = Speed()
    var now: UInt64 = 1_000_000_000
    /// What each slot holds.
    private(set) var slots: [UInt32: [Int32]] = [:]
    private var owners: [UInt32: GenerationID] = [:]
    private var states: [GenerationID: [Int32]] = [:]
    private var texts: [GenerationID: [Int32]] = [:]
    private(set) var requests: [GenerationID: SequenceRequest] = [:]
    private(set) var arrived: [GenerationID: UInt64] = [:]
    private(set) var firstToken: [GenerationID: UInt64] = [:]
    private(set) var gaps: [String: [UInt64]] = [:]
    private var lastToken: [GenerationID: UInt64] = [:]
    /// Tokens read and picked, by tenant.
    private(set) var read: [String: Int] = [:]
    private(set) var picked: [String: Int] = [:]
    private(set) var swaps = 0
    private(set) var stepsAhead = 0
    private(set) var copied = 0
    /// What left the engine and its tenant may have again.
    private var stored: [UInt64: KeptPrefix] = [:]
    private(set) var restored = 0
    private(set) var longestStep: UInt64 = 0
    private var nextID: UInt64 = 1
    /// A host that keeps everything.
    var keepsEvicted = false
    /// What `add` was told to do when an answer ends.
    private var whenDone: [GenerationID: (inout PlannerWorld) -> Void] = [:]

    init(_ limits: BatchPlanner.Limits) { planner = BatchPlanner(limits: limits) }

    @discardableResult
    mutating func add(
        _ tenant: String, prompt: [Int32], answer: Int, weight: Double = 1, priority: Priority = .interactive,
        whenDone: @escaping (inout PlannerWorld) -> Void = { _ in }
    ) -> GenerationID {
        let id = GenerationID(nextID)
        nextID += 1
        var request = SequenceRequest(id: id, tenant: tenant, prompt: prompt, maxTokens: answer)
        request.weight = weight
        request.priority = priority
        requests[id] = request
        texts[id] = prompt
        arrived[id] = now
        self.whenDone[id] = whenDone
        planner.add(request)
        return id
    }

    /// Keeps `count` requests of a tenant in the queue for ever.
    mutating func flood(
        _ tenant: String, count: Int, prompt: Int, answer: Int, weight: Double = 1, priority: Priority = .interactive
    ) {
        for _ in 0..<count {
            let tokens = (0..<prompt).map { Int32(truncatingIfNeeded: $0 &* 31 &+ Int(nextID) &* 7) }
            add(tenant, prompt: tokens, answer: answer, weight: weight, priority: priority) {
                $0.flood(tenant, count: 1, prompt: prompt, answer: answer, weight: weight, priority: priority)
            }
        }
    }

    mutating func cancel(_ id: GenerationID) {
        guard requests[id] != nil else { return }
        drop(planner.remove(id, keeping: texts[id]), of: id)
        whenDone[id] = nil
        requests[id] = nil
    }

    private mutating func drop(_ dropped: [UInt32], of id: GenerationID) {
        for slot in owners.keys where owners[slot] == id { owners[slot] = nil }
        for slot in dropped {
            #expect(owners[slot] == nil, "somebody's slot is dropped")
            slots[slot] = nil
        }
    }

    private static func shared(_ kept: KeptPrefix, _ request: SequenceRequest) -> Int {
        guard kept.tenant == request.tenant else { return 0 }
        return zip(kept.tokens, request.prompt.dropLast()).prefix { $0 == $1 }.count
    }

    /// Makes the planner's changes. `lose`: states that can't be saved.
    mutating func place(lose: (GenerationID) -> Bool = { _ in false }) {
        let stored = stored
        let placements = planner.place { request, beyond in
            let found = stored.map { (id: $0.key, tokens: Self.shared($0.value, request)) }.filter {
                $0.tokens > beyond
            }
            return found.min { (-$0.tokens, $0.id) < (-$1.tokens, $1.id) }.map {
                StoredPrefix(id: $0.id, tokens: $0.tokens, bytes: 1, inMemory: true)
            }
        }
        for placement in placements {
            switch placement {
            case .evict(let kept):
                #expect(
                    owners[kept.slot] == nil && slots[kept.slot] == kept.tokens, "what is evicted is kept and nobody's")
                #expect(kept.tenant != nil, "what is published stays")
                slots[kept.slot] = nil
                if keepsEvicted { self.stored[UInt64(self.stored.count)] = kept }
            case .swapOut(let id, let slot):
                #expect(owners[slot] == id)
                swaps += 1
                if planner.isSaving(id) {
                    if !lose(id) { states[id] = slots[slot] }
                    planner.saved(id, !lose(id))
                }
                owners[slot] = nil
                slots[slot] = nil
            case .start(let start):
                #expect(slots[start.slot] == nil, "a slot is given while it holds something")
                owners[start.slot] = start.id
                switch start.source {
                case .nothing: slots[start.slot] = []
                case .savedState:
                    let state = states.removeValue(forKey: start.id)
                    #expect(state != nil)
                    slots[start.slot] = state
                case .stored(let id, let tokens):
                    let source = stored[id]
                    #expect(source?.tenant == requests[start.id]?.tenant, "another tenant's prefix")
                    #expect(tokens < texts[start.id]?.count ?? 0)
                    restored += tokens
                    slots[start.slot] = Array(source?.tokens.prefix(tokens) ?? [])
                case .prefix(let from, let tokens):
                    let source = slots[from] ?? []
                    #expect(tokens <= source.count && tokens < texts[start.id]?.count ?? 0)
                    #expect(texts[start.id]?.starts(with: source.prefix(tokens)) == true, "another text's prefix")
                    copied += tokens
                    slots[start.slot] = Array(source.prefix(tokens))
                }
                planner.started(start.id)
            }
        }
    }

    /// One step. Returns false when there is nothing to do.
    mutating func step(ends: (GenerationID) -> Bool = { _ in false }) -> Bool {
        place()
        guard let plan = planner.plan(now: MonotonicTime(nanoseconds: now)) else { return false }
        // Planned before anybody knows what the step picks.
        let ahead = planner.planAhead(of: plan)
        run(plan, ends: ends)
        guard let ahead else { return true }
        stepsAhead += 1
        // What ended meanwhile is left out.
        let items = ahead.items.filter { requests[$0.id] != nil }
        if !items.isEmpty { run(StepPlan(items: items), ends: ends) }
        return true
    }

    private mutating func run(_ plan: StepPlan, ends: (GenerationID) -> Bool) {
        check(plan)
        let nanoseconds = UInt64(
            speed.fixed + speed.decode * Double(plan.decodes) + speed.read * Double(plan.reads))
        now += nanoseconds
        longestStep = max(longestStep, nanoseconds)
        planner.learn(plan, nanoseconds: nanoseconds)
        for item in plan.items { advance(item, ends: ends) }
    }

    private func check(_ plan: StepPlan) {
        #expect(plan.tokens <= planner.limits.maxStepTokens)
        #expect(Set(plan.items.map(\.id)).count == plan.items.count)
        for item in plan.items {
            #expect(owners[item.slot] == item.id && slots[item.slot]?.count == item.position, "\(item)")
            let left = (texts[item.id]?.count ?? 0) - item.position
            #expect(item.count >= 1 && item.count <= left && item.samples == (item.count == left), "\(item)")
        }
        let held = slots.values.reduce(plan.tokens) { $0 + $1.count }
        #expect(held <= planner.limits.contextTokens, "\(held) tokens do not fit into the engine")
    }

    private mutating func advance(_ item: StepPlan.Item, ends: (GenerationID) -> Bool) {
        guard let request = requests[item.id], let text = texts[item.id] else { return }
        slots[item.slot]? += text[item.position..<item.position + item.count]
        let prompt = max(0, min(item.position + item.count, request.prompt.count) - item.position)
        read[request.tenant, default: 0] += prompt
        let ended = item.samples && ends(item.id)
        let reason = planner.advance(item, ended: ended)
        if item.samples {
            picked[request.tenant, default: 0] += 1
            if firstToken[item.id] == nil { firstToken[item.id] = now }
            if let last = lastToken[item.id] { gaps[request.tenant, default: []].append(now - last) }
            lastToken[item.id] = now
            if !ended { texts[item.id]?.append(Int32(truncatingIfNeeded: text.count &* 17)) }
        }
        guard reason != nil else { return }
        let last = whenDone.removeValue(forKey: item.id)
        cancel(item.id)
        last?(&self)
    }

    mutating func run(for seconds: Double) {
        let end = now + UInt64(seconds * 1e9)
        while now < end, step() {}
    }

    /// What the scheduler calls service.
    func service(_ tenant: String) -> Double { Double(read[tenant] ?? 0) + 2 * Double(picked[tenant] ?? 0) }

    var isEmpty: Bool { requests.isEmpty }
}

func limits(
    sequences: Int = 4, step: Int = 256, context: Int = 4096, sequence: Int = 1024, saves: Bool = true,
    copies: Bool = true
) -> BatchPlanner.Limits {
    var limits = BatchPlanner.Limits(
        maxSequences: sequences, maxStepTokens: step, contextTokens: context, sequenceTokens: sequence)
    limits.savesState = saves
    limits.copiesPrefixes = copies
    return limits
}

func tokens(_ count: Int, seed: Int = 0) -> [Int32] {
    (0..<count).map { Int32(truncatingIfNeeded: $0 &* 13 &+ seed &* 7919) }
}

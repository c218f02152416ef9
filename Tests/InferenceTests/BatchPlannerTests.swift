// Steps: each promise of the planner, kept over thousands of random arrivals, ends and cancellations.
@testable import Inference
import TestSupport
import Testing

private func id(_ number: Int) -> GenerationID { GenerationID(UInt64(number)) }

private func planner(sequences: Int = 4, step: Int = 256, context: Int = 4096, sequence: Int = 1024) -> BatchPlanner {
    BatchPlanner(
        limits: BatchPlanner.Limits(
            maxSequences: sequences, maxStepTokens: step, contextTokens: context, sequenceTokens: sequence))
}

/// Admits and confirms everything that can be.
private func settle(_ planner: inout BatchPlanner) {
    for start in planner.admit() { planner.started(start.id) }
}

@Test func aPromptIsReadWholeThenDecodedTokenByToken() {
    var planner = planner()
    planner.add(id(1), promptTokens: 300, maxTokens: 3)
    settle(&planner)
    var seen: [(Int, Int, Bool)] = []
    var reason: FinishReason?
    while reason == nil, let plan = planner.plan() {
        for item in plan.items {
            seen.append((item.position, item.count, item.samples))
            reason = planner.advance(item, ended: false)
        }
    }
    #expect(seen.map(\.0) == [0, 256, 300, 301])
    #expect(seen.map(\.1) == [256, 44, 1, 1])
    #expect(seen.map(\.2) == [false, true, true, true])
    #expect(reason == .length)
    #expect(planner.remove(id(1)) == 0)
    #expect(planner.plan() == nil && planner.isEmpty)
}

@Test func aLongPromptDelaysNoStream() {
    var planner = planner()
    planner.add(id(1), promptTokens: 4, maxTokens: 500)
    settle(&planner)
    for item in planner.plan()?.items ?? [] { _ = planner.advance(item, ended: false) }
    planner.add(id(2), promptTokens: 900, maxTokens: 10)
    settle(&planner)
    for _ in 0..<10 {
        let plan = planner.plan()
        #expect(plan?.items.first?.id == id(1))
        #expect(plan?.tokens ?? 0 <= 1 + planner.limits.prefillBesideDecode)
        for item in plan?.items ?? [] { _ = planner.advance(item, ended: false) }
    }
}

@Test func aShortPromptIsReadBesideALongOne() {
    var planner = planner()
    planner.add(id(1), promptTokens: 1000, maxTokens: 10)
    planner.add(id(2), promptTokens: 20, maxTokens: 10)
    settle(&planner)
    let first = planner.plan()
    #expect(first?.items.contains { $0.id == id(2) && $0.samples } == true)
    #expect(first?.tokens == 256)
}

@Test func theEndOfTextEndsAndIsNotCounted() {
    var planner = planner()
    planner.add(id(1), promptTokens: 2, maxTokens: 2)
    settle(&planner)
    guard let item = planner.plan()?.items.first else { return #expect(Bool(false)) }
    #expect(planner.advance(item, ended: true) == .stop)
}

@Test func whatCannotFitIsSaidBeforehand() {
    let planner = planner(context: 512, sequence: 1024)
    #expect(planner.fits(promptTokens: 500, maxTokens: 12))
    #expect(!planner.fits(promptTokens: 500, maxTokens: 13))
    #expect(!planner.fits(promptTokens: 0, maxTokens: 1))
}

@Test func nobodyOvertakesWhileMemoryIsShort() {
    var planner = planner(context: 1000, sequence: 1000)
    planner.add(id(1), promptTokens: 500, maxTokens: 100)
    planner.add(id(2), promptTokens: 500, maxTokens: 100)
    planner.add(id(3), promptTokens: 10, maxTokens: 10)
    #expect(planner.admit().map(\.id) == [id(1)])
    #expect(planner.waiting == 2)
    _ = planner.remove(id(1))
    #expect(planner.admit().map(\.id) == [id(2), id(3)])
}

@Test func promptsAreReadHoweverSmallTheStep() {
    for step in 1...4 {
        var planner = planner(sequences: 10, step: step)
        for number in 0..<10 { planner.add(id(number), promptTokens: 5, maxTokens: 20) }
        var finished = 0
        for _ in 0..<1000 {
            settle(&planner)
            for item in planner.plan()?.items ?? [] where planner.advance(item, ended: false) != nil {
                _ = planner.remove(item.id)
                finished += 1
            }
        }
        #expect(finished == 10)
    }
}

/// What a run of random events may never break.
@Test func promisesHoldForRandomLives() {
    for seed in 0..<300 {
        var generator = SeededGenerator(seed: UInt64(seed))
        let step = Int.random(in: 1...64, using: &generator)
        var planner = planner(
            sequences: Int.random(in: 1...6, using: &generator), step: step, context: 600, sequence: 300)
        var prompts: [GenerationID: Int] = [:]
        var held: [GenerationID: Int] = [:]
        var budget: [GenerationID: Int] = [:]
        var slots: [UInt32: GenerationID] = [:]
        var next = 0
        var idleSteps: [GenerationID: Int] = [:]

        func leave(_ who: GenerationID) {
            let slot = planner.remove(who)
            if let slot {
                #expect(slots[slot] == who)
                slots[slot] = nil
            }
            prompts[who] = nil
            budget[who] = nil
            held[who] = nil
            idleSteps[who] = nil
        }

        for _ in 0..<200 {
            if Int.random(in: 0..<3, using: &generator) == 0 {
                let prompt = Int.random(in: 1...200, using: &generator)
                let answer = Int.random(in: 1...100, using: &generator)
                planner.add(id(next), promptTokens: prompt, maxTokens: answer)
                prompts[id(next)] = prompt
                budget[id(next)] = answer
                next += 1
            }
            if Int.random(in: 0..<20, using: &generator) == 0,
                let victim = prompts.keys.min(by: { $0.value < $1.value })
            {
                leave(victim)
            }
            for start in planner.admit() {
                #expect(slots[start.slot] == nil, "seed \(seed): a slot was given twice")
                slots[start.slot] = start.id
                held[start.id] = 0
                planner.started(start.id)
            }
            let reserved = slots.values.reduce(0) { $0 + (prompts[$1] ?? 0) + (budget[$1] ?? 0) }
            #expect(slots.isEmpty || reserved <= 600 + 300, "seed \(seed)")
            guard let plan = planner.plan() else {
                #expect(slots.isEmpty, "seed \(seed): sequences run and nothing is planned")
                continue
            }
            #expect(plan.tokens <= step, "seed \(seed)")
            #expect(Set(plan.items.map(\.id)).count == plan.items.count, "seed \(seed)")
            #expect(plan.items.allSatisfy { $0.count >= 1 && $0.position == held[$0.id] && slots[$0.slot] == $0.id })
            for who in slots.values { idleSteps[who, default: 0] += 1 }
            for item in plan.items { idleSteps[item.id] = 0 }
            #expect(idleSteps.values.allSatisfy { $0 <= 210 }, "seed \(seed): somebody starves")
            for item in plan.items {
                let before = held[item.id] ?? 0
                held[item.id] = before + item.count
                #expect(item.isPrompt == (before < prompts[item.id] ?? 0))
                #expect(item.samples == (before + item.count >= prompts[item.id] ?? 0))
                let ended = item.samples && Int.random(in: 0..<40, using: &generator) == 0
                if planner.advance(item, ended: ended) != nil { leave(item.id) }
            }
        }
    }
}

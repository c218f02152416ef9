// Steps and places: each promise of the planner, kept over thousands of random arrivals, ends and cancellations.
import Platform
import TestSupport
import Testing

@testable import Inference

@Suite struct PlannedSteps {
    @Test func aPromptIsReadWholeThenDecodedTokenByToken() {
        var planner = BatchPlanner(limits: limits())
        let id = GenerationID(1)
        planner.add(SequenceRequest(id: id, tenant: "a", prompt: tokens(300), maxTokens: 3))
        for case .start(let start) in planner.place() { planner.started(start.id) }
        var seen: [StepPlan.Item] = []
        var reason: FinishReason?
        while reason == nil, let plan = planner.plan(now: MonotonicTime(nanoseconds: 0)) {
            seen += plan.items
            reason = planner.advance(plan.items[0], ended: false)
        }
        #expect(seen.map(\.position) == [0, 249, 300, 301])
        #expect(seen.map(\.count) == [249, 51, 1, 1], "a quarter of a second at a time, as long as nothing is known")
        #expect(
            seen.map(\.samples) == [false, true, true, true] && seen.map(\.isPrompt) == [true, true, false, false])
        #expect(reason == .length && planner.remove(id) == [0])
        #expect(planner.plan(now: MonotonicTime(nanoseconds: 0)) == nil && planner.isEmpty)
    }

    @Test func aLongPromptDelaysNoStreamForLong() {
        var world = PlannerWorld(limits(sequences: 8, step: 512, context: 8192, sequence: 4096))
        world.add("a", prompt: tokens(4), answer: 500)
        world.run(for: 0.2)
        world.add("b", prompt: tokens(3000, seed: 1), answer: 10)
        world.add("b", prompt: tokens(3000, seed: 2), answer: 10)
        world.run(for: 3)
        let gaps = (world.gaps["a"] ?? []).sorted()
        // Its first prompt may be read at once, once; after that its streams share the steps.
        #expect(gaps.count > 40 && gaps[gaps.count * 9 / 10] < 100_000_000, "\(gaps.suffix(5))")
        #expect(gaps.last ?? 0 < 700_000_000)
    }

    @Test func aShortPromptIsReadBesideALongOne() {
        var world = PlannerWorld(limits())
        world.add("a", prompt: tokens(1000), answer: 10)
        let short = world.add("b", prompt: tokens(20, seed: 1), answer: 10)
        #expect(world.step() && world.firstToken[short] != nil)
    }

    @Test func theEndOfTextEndsAndIsNotCounted() {
        var world = PlannerWorld(limits())
        world.add("a", prompt: tokens(2), answer: 2)
        #expect(world.step(ends: { _ in true }) && world.isEmpty)
    }

    @Test func whatCannotFitIsSaidBeforehand() {
        let planner = BatchPlanner(limits: limits(context: 512))
        #expect(planner.fits(promptTokens: 500, maxTokens: 12))
        #expect(!planner.fits(promptTokens: 500, maxTokens: 13))
        #expect(!planner.fits(promptTokens: 0, maxTokens: 1))
    }

    @Test func whatIsPlainIsPlannedBehindTheStepThatRuns() {
        var planner = BatchPlanner(limits: limits())
        for number in 1...2 {
            planner.add(
                SequenceRequest(id: GenerationID(UInt64(number)), tenant: "a", prompt: tokens(5), maxTokens: 3 * number)
            )
        }
        for case .start(let start) in planner.place() { planner.started(start.id) }
        let now = MonotonicTime(nanoseconds: 0)
        guard let first = planner.plan(now: now), let second = planner.planAhead(of: first) else {
            Issue.record("two answers go on, and nothing is planned")
            return
        }
        #expect(second.items.map(\.position) == [5, 5] && second.items.allSatisfy { $0.follows && $0.count == 1 })
        for item in first.items { _ = planner.advance(item, ended: false) }
        guard let third = planner.planAhead(of: second) else {
            Issue.record("both answers have a token left")
            return
        }
        for item in second.items { _ = planner.advance(item, ended: false) }
        #expect(planner.planAhead(of: third) == nil, "one answer is as long as it may be")
        var reasons: [FinishReason?] = []
        for item in third.items { reasons.append(planner.advance(item, ended: false)) }
        #expect(reasons == [.length, nil])
        _ = planner.remove(GenerationID(1))
        let last = planner.plan(now: now)
        #expect(last?.items.map(\.position) == [7] && last?.items.first?.follows == false)
        planner.add(SequenceRequest(id: GenerationID(3), tenant: "b", prompt: tokens(5), maxTokens: 9))
        #expect(last.flatMap { planner.planAhead(of: $0) } == nil, "somebody waits for a place")
    }

    @Test func promptsAreReadHoweverSmallTheStep() {
        for step in 1...4 {
            var world = PlannerWorld(limits(sequences: 10, step: step))
            for number in 0..<10 { world.add("a", prompt: tokens(5, seed: number), answer: 20) }
            for _ in 0..<1000 where !world.isEmpty { _ = world.step() }
            #expect(world.isEmpty)
        }
    }

    @Test func interactiveRequestsGoFirstAndBatchOnesMakeWay() {
        var world = PlannerWorld(limits(sequences: 2))
        for number in 0..<2 { world.add("a", prompt: tokens(50, seed: number), answer: 400, priority: .batch) }
        world.run(for: 0.5)
        let urgent = world.add("a", prompt: tokens(50, seed: 9), answer: 5)
        world.run(for: 0.3)
        #expect(world.swaps == 1 && world.firstToken[urgent] != nil)
        while world.step() {}
        #expect(world.isEmpty && world.picked["a"] == 805)
    }
}

@Suite struct KeptPrefixes {
    @Test func theSameTenantReadsItsPromptOnceAndNobodyElseGainsByIt() {
        var world = PlannerWorld(limits(sequences: 8))
        let prompt = tokens(200)
        world.add("a", prompt: prompt, answer: 5)
        while world.step() {}
        world.add("b", prompt: prompt, answer: 5)
        while world.step() {}
        #expect(world.copied == 0 && world.read["b"] == 200)
        world.add("a", prompt: prompt + tokens(10, seed: 5), answer: 5)
        while world.step() {}
        #expect(world.copied == 200 && world.read["a"] == 210)
    }

    @Test func keptPrefixesMakeWayForWhoeverNeedsThePlace() {
        var world = PlannerWorld(limits(sequences: 2, context: 600))
        for number in 0..<2 { world.add("a", prompt: tokens(100, seed: number), answer: 5) }
        while world.step() {}
        for number in 2..<4 { world.add("b", prompt: tokens(200, seed: number), answer: 50) }
        while world.step() {}
        #expect(world.isEmpty && world.swaps == 0)
    }

    @Test func whatLeftTheEngineComesBackToItsTenantOnly() {
        var world = PlannerWorld(limits(sequences: 1))
        world.keepsEvicted = true
        let prompt = tokens(200)
        for tenant in ["a", "b", "c"] {
            world.add(tenant, prompt: prompt, answer: 5)
            while world.step() {}
        }
        #expect(world.copied == 0 && world.restored == 0)
        world.add("a", prompt: prompt, answer: 5)
        while world.step() {}
        #expect(world.restored == 199 && world.read["a"] == 201)
    }

    @Test func whatIsPublishedStaysAndIsEverybodys() {
        var planner = BatchPlanner(limits: limits(sequences: 2))
        var request = SequenceRequest(id: GenerationID(1), tenant: "platform", prompt: tokens(100), maxTokens: 1)
        func run(_ request: SequenceRequest, published: Bool) -> SequenceStart.Source? {
            planner.add(request)
            var source: SequenceStart.Source?
            for case .start(let start) in planner.place() {
                source = start.source
                planner.started(start.id)
            }
            while let plan = planner.plan(now: MonotonicTime(nanoseconds: 1)) {
                for item in plan.items where planner.advance(item, ended: false) != nil {
                    _ = planner.remove(item.id, keeping: request.prompt, published: published)
                }
            }
            return source
        }
        let first = run(request, published: true)
        #expect(first == .nothing)
        for (number, tenant) in ["a", "b", "c"].enumerated() {
            request.id = GenerationID(UInt64(number + 2))
            request.tenant = tenant
            request.prompt = tokens(100) + tokens(50, seed: number + 1)
            // Each pushes out what the last one left, and never this.
            let source = run(request, published: false)
            #expect(source == .prefix(slot: 0, tokens: 100))
            #expect(planner.isPublished(0) && planner.prefixes.entries.count == 2)
        }
        let slots = planner.forgetPrefixes(of: "c")
        #expect(slots == [1] && planner.prefixes.entries.count == 1)
    }
}

/// What a run of random events may never break; `PlannerWorld` checks each order.
@Test(arguments: 0..<100) func promisesHoldForRandomLives(_ seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    var world = PlannerWorld(
        limits(
            sequences: Int.random(in: 1...6, using: &random), step: Int.random(in: 1...64, using: &random),
            context: 600,
            sequence: 300, saves: Bool.random(using: &random), copies: Bool.random(using: &random)))
    world.keepsEvicted = Bool.random(using: &random)
    var unfinished: Set<GenerationID> = []
    for _ in 0..<200 {
        if Int.random(in: 0..<3, using: &random) == 0 {
            let tenant = ["a", "b", "c"][Int.random(in: 0..<3, using: &random)]
            unfinished.insert(
                world.add(
                    tenant,
                    // Few beginnings, so that some are shared.
                    prompt: tokens(
                        Int.random(in: 1...200, using: &random), seed: Int.random(in: 0..<3, using: &random)),
                    answer: Int.random(in: 1...100, using: &random), weight: Double.random(in: 0.5...2, using: &random),
                    priority: Int.random(in: 0..<5, using: &random) == 0 ? .batch : .interactive))
        }
        if Int.random(in: 0..<20, using: &random) == 0, let victim = unfinished.randomElement(using: &random) {
            world.cancel(victim)
        }
        unfinished.formIntersection(world.requests.keys)
        world.place(lose: { $0.value.isMultiple(of: 3) })
        let worked = world.step(ends: { _ in Int.random(in: 0..<40, using: &random) == 0 })
        #expect(worked || world.isEmpty, "sequences wait and nothing is planned")
    }
    for _ in 0..<100_000 where !world.isEmpty { _ = world.step() }
    #expect(world.isEmpty && world.planner.isEmpty, "somebody starves")
    #expect(world.planner.fair.tenantCount == 0 || world.planner.fair.tenantCount <= 3)
}

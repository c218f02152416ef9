// Who gets how much of a model: the bound of the virtual counters, weights, work conservation, and the light tenant in a flood.
import TestSupport
import Testing

@testable import Inference

/// Jain's index of shares: 1 when all are equal, 1/n when one has all.
private func jain(_ shares: [Double]) -> Double {
    let sum = shares.reduce(0, +)
    return sum * sum / (Double(shares.count) * shares.reduce(0) { $0 + $1 * $1 })
}

@Suite struct TokenFairQueueTests {
    @Test func theOneWhoGotLeastByWeightIsNext() {
        var fair = TokenFairQueue()
        for tenant in ["a", "b"] { fair.arrive(tenant) }
        fair.charge("a", weight: 1, input: 2000)
        fair.charge("b", weight: 4, input: 4000)
        #expect(fair.next([("a", 0), ("b", 0)]) == "b")
        fair.charge("b", weight: 4, output: 5000)
        #expect(fair.next([("a", 0), ("b", 0)]) == "a")
    }

    @Test func idlingEarnsNothingAndLeavingPaysNothingOff() {
        var fair = TokenFairQueue()
        for tenant in ["a", "b"] { fair.arrive(tenant) }
        fair.charge("a", weight: 1, input: 10_000)
        fair.charge("b", weight: 1, input: 9_000)
        fair.arrive("new")
        #expect(fair.counter(of: "new") == 9_000, "it starts where the lowest stands")
        fair.leave("a")
        fair.arrive("a")
        #expect(fair.counter(of: "a") == 10_000, "it left with a debt and finds it again")
        for tenant in ["a", "b", "new"] { fair.leave(tenant) }
        #expect(fair.tenantCount == 0)
    }

    @Test func localityBreaksTheOrderWithinItsDeficitOnly() {
        var fair = TokenFairQueue()
        for tenant in ["a", "b"] { fair.arrive(tenant) }
        fair.charge("a", weight: 1, input: 500)
        #expect(fair.next([("a", 300), ("b", 0)]) == "a")
        fair.charge("a", weight: 1, input: 13)
        #expect(fair.next([("a", 300), ("b", 0)]) == "b")
    }
}

@Suite struct SharesOfAModel {
    /// Backlogged tenants of different appetite; each has more requests than it gets places.
    private func shares(weights: [Double], seconds: Double) -> (world: PlannerWorld, shares: [Double]) {
        var world = PlannerWorld(limits(sequences: 8, step: 256, context: 6000, sequence: 1024))
        for (number, weight) in weights.enumerated() {
            world.flood(
                "t\(number)", count: 12 + 8 * number, prompt: 40 + 60 * number, answer: 20 + 15 * number, weight: weight
            )
        }
        world.run(for: seconds)
        return (world, weights.indices.map { world.service("t\($0)") / weights[$0] })
    }

    @Test func equalTenantsGetTheSame() {
        let (_, shares) = shares(weights: [1, 1, 1, 1], seconds: 40)
        #expect(jain(shares) >= 0.98, "\(shares)")
    }

    @Test func weightsAreKeptWithinFivePercent() {
        let (_, shares) = shares(weights: [1, 2, 4], seconds: 90)
        let mean = shares.reduce(0, +) / Double(shares.count)
        #expect(shares.allSatisfy { abs($0 / mean - 1) <= 0.05 }, "\(shares.map { $0 / mean })")
    }

    /// The bound of VTC (theorem 4.4 of the paper), with the deficit: at any moment, not in the long run.
    @Test(arguments: 0..<8) func theGapOfBackloggedTenantsIsBounded(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var world = PlannerWorld(limits(sequences: 6, step: 128, context: 3000, sequence: 1024))
        let weights = [1, Double.random(in: 0.5...3, using: &random), Double.random(in: 0.5...3, using: &random)]
        let prompts = (0..<3).map { _ in Int.random(in: 1...400, using: &random) }
        for number in 0..<3 {
            world.flood(
                "t\(number)", count: 20, prompt: prompts[number], answer: Int.random(in: 1...100, using: &random),
                weight: weights[number])
        }
        let costs = world.planner.fair.costs
        let most = max(
            costs.input * Double(prompts.max() ?? 0), costs.output * Double(world.planner.limits.contextTokens))
        let bound = 2 * most / (weights.min() ?? 1) + costs.localityDeficit
        for _ in 0..<600 {
            _ = world.step()
            let shares = (0..<3).map { world.service("t\($0)") / weights[$0] }
            let gap = (shares.max() ?? 0) - (shares.min() ?? 0)
            #expect(gap <= bound, "\(gap) > \(bound)")
        }
    }

    @Test func fairnessCostsAlmostNothing() {
        func rate(tenants: Int) -> Double {
            var world = PlannerWorld(limits(sequences: 8, step: 256, context: 6000, sequence: 1024))
            for number in 0..<4 { world.flood("t\(number % tenants)", count: 12, prompt: 100, answer: 40) }
            world.run(for: 20)
            return (0..<tenants).reduce(0) { $0 + world.service("t\($1)") }
        }
        let (fair, fifo) = (rate(tenants: 4), rate(tenants: 1))
        #expect(fair >= 0.97 * fifo, "\(fair / fifo)")
    }

    @Test func aLightTenantHardlyNoticesAFlood() {
        func world(flooded: Bool) -> PlannerWorld {
            var world = PlannerWorld(limits(sequences: 16, step: 512, context: 7500, sequence: 2048))
            if flooded { world.flood("flood", count: 32, prompt: 1000, answer: 100) }
            world.run(for: 5)
            return world
        }
        var (alone, beside) = (world(flooded: false), world(flooded: true))
        for _ in 0..<8 {
            func ask(_ world: inout PlannerWorld) -> UInt64 {
                let id = world.add("light", prompt: tokens(100, seed: Int(world.now % 1000)), answer: 20)
                while world.requests[id] != nil, world.step() {}
                return (world.firstToken[id] ?? .max) - (world.arrived[id] ?? 0)
            }
            let (solo, flooded) = (ask(&alone), ask(&beside))
            #expect(flooded <= solo * 3 / 2 + beside.longestStep, "\(flooded) against \(solo) alone")
            beside.run(for: 0.5)
        }
        #expect(beside.swaps > 0)
    }

    /// One chat after the other: its place is still free when it comes back, so that nobody has to be moved out of its way.
    @Test func aLightTenantFindsItsPlaceAgain() {
        var world = PlannerWorld(limits(sequences: 32, step: 512, context: 40_960, sequence: 1280, copies: false))
        world.flood("flood", count: 40, prompt: 1000, answer: 16)
        world.run(for: 5)
        let before = world.swaps
        var between: [UInt64] = []
        for _ in 0..<10 {
            let id = world.add("light", prompt: tokens(40, seed: Int(world.now % 1000)), answer: 30)
            while world.requests[id] != nil, world.step() {}
            // Its next question is on the way for two steps.
            for _ in 0..<2 {
                let begun = world.now
                _ = world.step()
                between.append(world.now - begun)
            }
        }
        #expect(world.swaps - before <= 1)
        let gaps = world.gaps["light", default: []].sorted()
        let longest = world.planner.limits.stall + world.speed.fixed + world.speed.decode
        #expect(Double(gaps[gaps.count * 99 / 100]) <= 1.1 * longest, "\(gaps.suffix(5))")
        #expect(Double(between.max() ?? 0) <= 1.1 * longest, "who comes back waits for a short step: \(between)")
        world.run(for: 3)
        #expect(world.planner.running == 32, "nobody's place is kept for ever")
    }

    @Test func manyLightTenantsDoNotStopAFlood() {
        var world = PlannerWorld(limits(sequences: 16, step: 512, context: 8192, sequence: 2048))
        world.flood("flood", count: 32, prompt: 200, answer: 200)
        for number in 0..<30 { world.flood("light\(number)", count: 1, prompt: 100, answer: 2) }
        world.run(for: 15)
        let light = (0..<30).map { world.service("light\($0)") }
        #expect(light.min() ?? 0 > 0 && world.service("flood") >= 0.8 * (light.min() ?? 0), "\(world.service("flood"))")
    }
}

@Suite struct StepCostTests {
    @Test func itFollowsTheEngine() {
        var cost = StepCost()
        for round in 0..<200 {
            let (decodes, reads) = (round % 9, round % 5 * 40)
            cost.learn(
                decodes: decodes, reads: reads, nanoseconds: UInt64(2e6 + 4e6 * Double(decodes) + 3e5 * Double(reads)))
        }
        let expected = 2e6 + 4e6 * 7 + 3e5 * 100
        #expect(abs(cost.nanoseconds(decodes: 7, reads: 100) / expected - 1) < 0.05, "\(cost)")
        #expect((300...360).contains(cost.reads(within: 1e8)), "\(cost)")
    }

    @Test func stepsThatAreAllAlikePromiseNothingAbsurd() {
        var cost = StepCost()
        for _ in 0..<1000 { cost.learn(decodes: 0, reads: 100, nanoseconds: 0) }
        #expect(cost.reads(within: 1e9) <= 1_000_000)
        for _ in 0..<1000 { cost.learn(decodes: 4, reads: 0, nanoseconds: 40_000_000) }
        #expect(cost.nanoseconds(decodes: 4, reads: 0) > 30_000_000)
    }
}

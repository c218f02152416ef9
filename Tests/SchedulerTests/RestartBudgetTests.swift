// How often workers that died are replaced, by a clock that the test turns.
import Core
import Platform
import TestSupport
import Testing

@testable import Scheduler

@Suite struct RestartBudgetTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
    private func at(_ seconds: Double) -> MonotonicTime { start.adding(milliseconds: UInt64(seconds * 1000)) }
    private func key(_ name: String, _ tenant: String = "t") -> FunctionKey { FunctionKey(tenant: tenant, name: name) }

    @Test func aFewDeathsDelayNobodyAndManyDoUntilTimeHasPassed() {
        var budget = RestartBudget(rate: 10)
        for _ in 0..<19 { budget.died(key("f"), cause: "signal 11", now: start) }
        #expect(budget.wait(for: key("f"), now: start) == nil)
        budget.died(key("f"), cause: "signal 6", now: start)
        #expect(budget.wait(for: key("f"), now: start) == .init(milliseconds: 100, lastEnd: "signal 6"))
        #expect(budget.wait(for: key("f"), now: at(0.05)) == .init(milliseconds: 50, lastEnd: "signal 6"))
        #expect(budget.wait(for: key("f"), now: at(0.1)) == nil)
        #expect(budget.wait(for: key("g"), now: start) == nil && budget.wait(for: key("f", "u"), now: start) == nil)
    }

    /// Whatever the pattern, starts that follow deaths stay below burst + rate * time.
    @Test func startsStayBelowTheLine() {
        var random = SeededGenerator(seed: 7)
        for _ in 0..<50 {
            let rate = Double.random(in: 1...100, using: &random)
            var budget = RestartBudget(rate: rate)
            var deaths = 0, seconds = 0.0
            for _ in 0..<2000 {
                seconds += Double.random(in: 0...0.05, using: &random)
                let now = at(seconds)
                guard budget.wait(for: key("f"), now: now) == nil else { continue }
                budget.died(key("f"), cause: "", now: now)
                deaths += 1
            }
            #expect(Double(deaths) <= RestartBudget.burst + rate * seconds + 1)
            #expect(Double(deaths) >= min(2000 * 0.9, rate * seconds * 0.5), "and are not refused for nothing")
        }
    }

    @Test func manyFunctionsOfATenantShareABudgetAndHealthyOnesKeepTheirs() {
        var budget = RestartBudget(rate: 10)
        for n in 0..<80 { budget.died(key("f\(n % 8)"), cause: "exit 1", now: start) }
        #expect(budget.wait(for: key("f1"), now: start) != nil, "10 deaths each, 80 of the tenant")
        #expect(budget.wait(for: key("healthy"), now: start) == nil)
        #expect(budget.wait(for: key("f1", "other"), now: start) == nil)
        #expect(budget.wait(for: key("f1"), now: at(2)) == nil)
    }

    @Test func withoutARateNothingIsCounted() {
        var budget = RestartBudget(rate: 0)
        for _ in 0..<1000 { budget.died(key("f"), cause: "", now: start) }
        #expect(budget.wait(for: key("f"), now: start) == nil)
    }

    @Test func accountsAreForgotten() {
        var budget = RestartBudget(rate: 10)
        for n in 0..<5000 { budget.died(key("f\(n)", "t\(n)"), cause: "", now: at(Double(n))) }
        #expect(budget.accounts < 1100)
    }
}

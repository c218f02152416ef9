// Token buckets by properties: never more than the burst and what came since, nothing lost, whatever the clock does.
import Core
import Limits
import TestSupport
import Testing

private let second: UInt64 = 1_000_000_000

@Suite struct TokenBucketTests {
    /// Takes at random moments; then looks at every window between two takes.
    @Test(arguments: 0..<100 as Range<UInt64>) func noWindowHoldsMoreThanBurstAndRate(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let rate = RequestRate(
            perSecond: [0.001, 0.3, 1, 3, 7, 100, 33_333, 1_000_000].randomElement(using: &random)!,
            burst: [1, 2, 10, 1000].randomElement(using: &random)!)
        var now = UInt64.random(in: 0...UInt64.max / 4, using: &random)
        var bucket = TokenBucket(rate, now: now)
        var taken: [UInt64] = []
        let mean = second * 1000 / rate.perThousandSeconds
        for _ in 0..<200 {
            now += UInt64.random(in: 0...max(1, mean), using: &random)
            if bucket.take(now: now) == nil { taken.append(now) }
        }
        #expect(!taken.isEmpty)
        for first in taken.indices {
            for last in first..<taken.count where last - first + 1 > rate.burst {
                // All beyond the burst came in this window, in whole numbers.
                let beyond = UInt64(last - first + 1) - rate.burst
                let (high, low) = (taken[last] - taken[first]).multipliedFullWidth(by: rate.perThousandSeconds)
                #expect(high > 0 || low / 1_000_000_000_000 >= beyond, "\(rate): \(beyond) beyond the burst")
            }
        }
    }

    /// From full, with a caller that always asks: exactly the burst and the rate's whole tokens, over days.
    @Test(arguments: [0.3, 1, 3, 7, 99.999, 1000.0 / 3]) func nothingIsLostByRoundingOverDays(perSecond: Double) {
        let rate = RequestRate(perSecond: perSecond, burst: 5)
        var bucket = TokenBucket(rate, now: 0)
        var taken: UInt64 = 0
        var now: UInt64 = 0
        let end = 3 * 86_400 * second
        let started = now
        var count = 0
        // It asks at the very moment that it was told to.
        while now < end, count < 2_000_000 {
            count += 1
            if let wait = bucket.take(now: now) { now += wait } else { taken += 1 }
        }
        let (high, low) = (now - started).multipliedFullWidth(by: rate.perThousandSeconds)
        let brought = UInt64(1_000_000_000_000).dividingFullWidth((high, low)).quotient
        #expect(taken == rate.burst + brought || taken + 1 == rate.burst + brought, "\(taken) \(brought)")
    }

    @Test func theWaitIsExact() {
        var bucket = TokenBucket(RequestRate(perSecond: 3, burst: 1), now: 0)
        #expect(bucket.take(now: 0) == nil)
        #expect(bucket.take(now: 0) == 333_333_334)
        #expect(bucket.take(now: 333_333_333) == 1)
        #expect(bucket.take(now: 333_333_334) == nil)
        #expect(bucket.remaining == 0)
    }

    @Test func aClockThatJumps() {
        let rate = RequestRate(perSecond: 10, burst: 3)
        var bucket = TokenBucket(rate, now: 1000 * second)
        for _ in 0..<3 { #expect(bucket.take(now: 1000 * second) == nil) }
        // Back: nothing comes, and nothing is lost.
        #expect(bucket.take(now: 1) != nil)
        #expect(bucket.take(now: 999 * second) != nil)
        #expect(bucket.take(now: 1000 * second + second / 10) == nil)
        // Far ahead, farther than any product holds: full, not more.
        for _ in 0..<3 { #expect(bucket.take(now: .max - 1) == nil) }
        #expect(bucket.take(now: .max - 1) != nil)
        #expect(bucket.take(now: .max) != nil)
    }

    @Test func aRateThatChangesKeepsWhatCame() {
        var bucket = TokenBucket(RequestRate(perSecond: 1, burst: 100), now: 0)
        for _ in 0..<100 { #expect(bucket.take(now: 0) == nil) }
        // Two seconds at the old rate: two tokens, not two thousand.
        bucket.change(to: RequestRate(perSecond: 1000, burst: 100), now: 2 * second)
        #expect(bucket.remaining == 2)
        bucket.change(to: RequestRate(perSecond: 1000, burst: 1), now: 2 * second)
        var empty = TokenBucket(RequestRate(perSecond: 1, burst: 1), now: 0)
        #expect(empty.take(now: 0) == nil)
        empty.change(to: RequestRate(perSecond: 0.5, burst: 1), now: 0)
        #expect(empty.remaining == 0)
        empty.change(to: RequestRate(perSecond: 2, burst: 1), now: 0)
        #expect(empty.take(now: 0) == nil && empty.take(now: 0) != nil)
        #expect(bucket.remaining == 1 && bucket.take(now: 2 * second) == nil && bucket.take(now: 2 * second) != nil)
    }

    @Test func whatIsGivenBackIsThereAgainAndNeverMore() {
        var bucket = TokenBucket(RequestRate(perSecond: 0.001, burst: 2), now: 0)
        bucket.giveBack()
        #expect(bucket.remaining == 2)
        #expect(bucket.take(now: 0) == nil)
        bucket.giveBack()
        #expect(bucket.remaining == 2 && bucket.isFull(now: 0))
    }

    @Test func windowsOfUsage() {
        var window = UsageWindow(.minute)
        window.add(5, now: 59_999)
        #expect(window.used(at: 59_999) == 5 && window.wait(at: 59_999) == 1)
        #expect(window.used(at: 60_000) == 0 && window.wait(at: 60_000) == 60_000)
        window.add(7, now: 120_000)
        // A clock that is set back does not open an old window again.
        #expect(window.used(at: 10) == 7)
        window.add(.max, now: 10)
        #expect(window.used(at: 120_000) == .max && window.used(at: 180_000) == 0)
    }
}

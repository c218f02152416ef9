// Levels and accounts: who is let in, what is refused, and that nothing a refused request took is gone.
import Core
import Limits
import TestSupport
import Testing

private func limitsOf(_ text: String, _ level: LimitLevel = .tenant) throws(RuntimeError) -> LimitSet {
    try LimitSet(try JSON5.decode(Array(text.utf8), step: "test"), at: level, name: "limits", step: "test")
}

private func refusal(_ body: () throws(RuntimeError) -> Void) -> RuntimeError? {
    do throws(RuntimeError) {
        try body()
        return nil
    } catch {
        return error
    }
}

private func time(_ milliseconds: UInt64) -> LimitTime {
    LimitTime(monotonic: milliseconds * 1_000_000, unix: Int64(milliseconds))
}

@Suite struct LimitTests {
    @Test func whatIsReadIsWrittenAgain() throws {
        let all = try limitsOf(
            """
            {requests_per_second: 2.5, burst: 7, concurrency: 3, queue: 0, body_mb: 0.5, cpu_seconds_per_minute: 1.5,
             cpu_seconds_per_day: 100, memory_mb: 256, storage_mb: 10, egress_mb_per_minute: 1, egress_mb_per_day: 20}
            """)
        #expect(all.bodyBytes == 524_288 && all.cpuPerMinute == 1_500_000_000 && all.memoryBytes == 256 << 20)
        #expect(all.rate == RequestRate(perSecond: 2.5, burst: 7) && all.queue == 0)
        #expect(try limitsOf(all.value.text) == all)
        #expect(try limitsOf("{}").isEmpty)
        #expect(try limitsOf("{requests_per_second: 2.5}").rate?.burst == 3)
        #expect(try limitsOf("{requests_per_second: 0.01}").rate?.burst == 1)
    }

    @Test func whatIsWrongIsNamed() {
        for (text, words) in [
            ("{requests_per_second: 0}", "'limits.requests_per_second'"),
            ("{burst: 3}", "'limits.requests_per_second' is missing"),
            ("{requests_per_second: 1, burst: 0}", "'limits.burst'"), ("{concurrency: 0}", "'limits.concurrency'"),
            ("{concurency: 1}", "unknown key"), ("{body_mb: '1'}", "'limits.body_mb'"), ("[]", "must be an object"),
            ("{queue: -1}", "'limits.queue'"), ("{egress_mb_per_day: 1e12}", "'limits.egress_mb_per_day'"),
        ] {
            let found = refusal { () throws(RuntimeError) in _ = try limitsOf(text) }
            #expect(found?.cause.contains(words) == true, "\(text): \(String(describing: found))")
        }
        let key = refusal { () throws(RuntimeError) in _ = try limitsOf("{memory_mb: 64}", .key) }
        #expect(key?.cause.contains("unknown key") == true, "a key has no workers of its own")
        let file = refusal { () throws(RuntimeError) in
            _ = try PlatformLimits(json5: Array("{tenants: {}}".utf8), file: "f")
        }
        #expect(file?.next.contains("tenant") == true)
    }

    @Test func theTighterOfTwo() throws {
        let one = try limitsOf("{requests_per_second: 5, burst: 100, concurrency: 9, body_mb: 1, memory_mb: 512}")
        let two = try limitsOf("{requests_per_second: 50, burst: 10, concurrency: 4, queue: 3, memory_mb: 1024}")
        let both = one.tightened(by: two)
        #expect(both == two.tightened(by: one))
        #expect(both.rate == RequestRate(perSecond: 5, burst: 10) && both.concurrency == 4 && both.queue == 3)
        #expect(both.bodyBytes == 1 << 20 && both.memoryBytes == 512 << 20)
        #expect(one.tightened(by: nil) == one)
    }

    @Test func levelsOfARequest() throws {
        let file = try PlatformLimits(
            json5: Array("{platform: {body_mb: 8}, tenant: {body_mb: 4, concurrency: 10}, key: {body_mb: 3}}".utf8),
            file: "f")
        let tree = LimitTree(file, tenant: try limitsOf("{concurrency: 2}"), key: nil, function: nil)
        #expect(tree.levels.map(\.level) == [.tenant, .platform], "who has no key has no key's limits")
        #expect(tree.levels[0].limits.concurrency == 2 && tree.levels[0].limits.bodyBytes == 4 << 20)
        #expect(tree.tightest(\.bodyBytes)?.level == .tenant)
        let keyed = LimitTree(file, tenant: nil, key: .some(nil), function: nil)
        #expect(keyed.levels.map(\.level) == [.key, .tenant, .platform])
        #expect(keyed.tightest(\.bodyBytes)?.most == 3 << 20 && keyed.tightest(\.memoryBytes) == nil)
        #expect(LimitTree(PlatformLimits(), tenant: nil, key: nil, function: nil).levels.isEmpty)
    }

    @Test func placesAtOnce() throws {
        let limits = try limitsOf("{concurrency: 2}")
        var account = LimitAccount()
        #expect(account.admit(limits, at: .tenant, now: time(0)) == .admitted(nil))
        #expect(account.admit(limits, at: .tenant, now: time(0)) == .admitted(nil))
        #expect(
            account.admit(limits, at: .tenant, now: time(0))
                == .refused(.concurrency, retryAfterMilliseconds: 1000, nil))
        account.leave()
        #expect(account.admit(limits, at: .tenant, now: time(0)) == .admitted(nil) && account.running == 2)
        // Lower than what runs: nobody is cut, nobody comes in.
        let lower = try limitsOf("{concurrency: 1}")
        account.leave()
        guard case .refused = account.admit(lower, at: .tenant, now: time(0)) else {
            Issue.record("another verdict")
            return
        }
        account.leave()
        #expect(account.admit(lower, at: .tenant, now: time(0)) == .admitted(nil))
    }

    @Test func standingsAreExact() throws {
        let limits = try limitsOf("{requests_per_second: 2, burst: 3}")
        var account = LimitAccount()
        for left: UInt64 in [2, 1, 0] {
            guard case .admitted(let standing?) = account.admit(limits, at: .key, now: time(0)) else {
                Issue.record("another verdict")
                return
            }
            #expect(standing.level == .key && standing.remaining == left && standing.windowSeconds == 2)
            #expect(standing.resetMilliseconds == (3 - left) * 500)
        }
        guard case .refused(.requestsPerSecond, 500, let standing?) = account.admit(limits, at: .key, now: time(0))
        else {
            Issue.record("another verdict")
            return
        }
        #expect(standing.remaining == 0 && standing.resetMilliseconds == 500)
        guard case .refused(_, 1, _) = account.admit(limits, at: .key, now: time(499)) else {
            Issue.record("another verdict")
            return
        }
        guard case .admitted = account.admit(limits, at: .key, now: time(500)) else {
            Issue.record("another verdict")
            return
        }
    }

    @Test func whatAnotherLevelRefusedIsGivenBack() throws {
        let limits = try limitsOf("{requests_per_second: 0.001, burst: 1, concurrency: 1}")
        var account = LimitAccount()
        for _ in 0..<10 {
            guard case .admitted = account.admit(limits, at: .tenant, now: time(0)) else {
                Issue.record("another verdict")
                return
            }
            account.undo()
        }
        #expect(account.running == 0 && account.isIdle(now: time(0)))
    }

    @Test func whatWasUsedRefusesTheNext() throws {
        let limits = try limitsOf("{cpu_seconds_per_minute: 1, cpu_seconds_per_day: 3, egress_mb_per_minute: 1}")
        var account = LimitAccount()
        func verdict(_ at: UInt64) -> LimitKind? {
            switch account.admit(limits, at: .tenant, now: time(at)) {
            case .refused(let kind, _, _): return kind
            case .admitted:
                account.leave()
                return nil
            }
        }
        account.useCPU(999_999_999, now: 0)
        #expect(verdict(0) == nil)
        account.useCPU(1, now: 0)
        #expect(verdict(59_999) == .cpuPerMinute && verdict(60_000) == nil)
        account.useCPU(5_000_000_000, now: 60_000)
        #expect(verdict(120_000) == .cpuPerDay && verdict(86_400_000) == nil)
        account.send(1 << 20, now: 86_400_000)
        #expect(verdict(86_400_000) == .egressPerMinute && verdict(86_460_000) == nil)
    }

    @Test func placesInTheQueue() {
        var account = LimitAccount()
        #expect(account.enterQueue(2) && account.enterQueue(2) && !account.enterQueue(2))
        account.leaveQueue()
        #expect(account.enterQueue(2) && account.enterQueue(nil) && !account.enterQueue(0) && account.waiting == 3)
    }

    /// Random comings and goings against a model that counts by hand.
    @Test(arguments: 0..<100 as Range<UInt64>) func neverMoreThanAreAllowed(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var account = LimitAccount()
        var running = 0
        var now: UInt64 = 0
        for _ in 0..<2000 {
            now += UInt64.random(in: 0...5, using: &random)
            let most = Int.random(in: 1...4, using: &random)
            let limits = try limitsOf("{concurrency: \(most)}")
            if Bool.random(using: &random), running > 0 {
                account.leave()
                running -= 1
            } else if case .admitted = account.admit(limits, at: .tenant, now: time(now)) {
                #expect(running < most)
                running += 1
            } else {
                #expect(running >= most)
            }
            #expect(account.running == running)
        }
    }
}

// What one platform, tenant, key or function has of its limits right now, and who may come in; the gateway keeps one for each.
package import Core

/// A moment on both clocks.
package struct LimitTime: Sendable {
    /// Nanoseconds on the monotonic clock.
    package var monotonic: UInt64
    /// Milliseconds since 1970.
    package var unix: Int64

    package init(monotonic: UInt64, unix: Int64) {
        self.monotonic = monotonic
        self.unix = unix
    }
}

/// How a caller stands with a request rate.
package struct RateStanding: Equatable, Sendable {
    package let level: LimitLevel
    package let rate: RequestRate
    package let remaining: UInt64
    /// Until there is one more, when there is none; else until all are there.
    package let resetMilliseconds: UInt64

    package init(level: LimitLevel, rate: RequestRate, remaining: UInt64, resetMilliseconds: UInt64) {
        self.level = level
        self.rate = rate
        self.remaining = remaining
        self.resetMilliseconds = resetMilliseconds
    }

    /// Seconds in which a whole burst comes again, at least one.
    package var windowSeconds: UInt64 {
        max(1, (rate.burst * 1000 + rate.perThousandSeconds - 1) / rate.perThousandSeconds)
    }
}

/// Whether one level lets a request in.
package enum LimitVerdict: Equatable, Sendable {
    case admitted(RateStanding?)
    case refused(LimitKind, retryAfterMilliseconds: UInt64, RateStanding?)
}

package struct LimitAccount: Sendable {
    private var bucket: TokenBucket?
    package private(set) var running = 0
    package private(set) var waiting = 0
    private var cpu = (minute: UsageWindow(.minute), day: UsageWindow(.day))
    private var egress = (minute: UsageWindow(.minute), day: UsageWindow(.day))

    package init() {}

    /// Where nobody can say when a place is free.
    private static let shortWhile: UInt64 = 1000

    /// Counts a request in, or not: then nothing has changed.
    package mutating func admit(_ limits: LimitSet, at level: LimitLevel, now: LimitTime) -> LimitVerdict {
        if let (kind, wait) = spent(limits, now.unix) { return .refused(kind, retryAfterMilliseconds: wait, nil) }
        if let most = limits.concurrency, running >= most {
            return .refused(.concurrency, retryAfterMilliseconds: Self.shortWhile, nil)
        }
        guard let rate = limits.rate else {
            bucket = nil
            running += 1
            return .admitted(nil)
        }
        if bucket == nil { bucket = TokenBucket(rate, now: now.monotonic) }
        bucket?.change(to: rate, now: now.monotonic)
        let wait = bucket?.take(now: now.monotonic)
        let standing = bucket.map { bucket in
            RateStanding(
                level: level, rate: rate, remaining: bucket.remaining,
                resetMilliseconds: ((wait ?? bucket.untilFull) + 999_999) / 1_000_000)
        }
        if let wait {
            return .refused(
                .requestsPerSecond, retryAfterMilliseconds: max(1, (wait + 999_999) / 1_000_000), standing)
        }
        running += 1
        return .admitted(standing)
    }

    /// Another level refused what this one had admitted.
    package mutating func undo() {
        leave()
        bucket?.giveBack()
    }

    /// A request that was admitted is over.
    package mutating func leave() {
        precondition(running > 0, "a request that left twice")
        running -= 1
    }

    private func spent(_ limits: LimitSet, _ now: Int64) -> (LimitKind, UInt64)? {
        if let most = limits.cpuPerDay, cpu.day.used(at: now) >= most { return (.cpuPerDay, cpu.day.wait(at: now)) }
        if let most = limits.cpuPerMinute, cpu.minute.used(at: now) >= most {
            return (.cpuPerMinute, cpu.minute.wait(at: now))
        }
        if let most = limits.egressPerDay, egress.day.used(at: now) >= most {
            return (.egressPerDay, egress.day.wait(at: now))
        }
        if let most = limits.egressPerMinute, egress.minute.used(at: now) >= most {
            return (.egressPerMinute, egress.minute.wait(at: now))
        }
        return nil
    }

    // MARK: the queue

    /// False: as many wait as may; then nothing has changed.
    package mutating func enterQueue(_ most: Int?) -> Bool {
        guard waiting < most ?? .max else { return false }
        waiting += 1
        return true
    }

    package mutating func leaveQueue() {
        precondition(waiting > 0, "a request that left a queue twice")
        waiting -= 1
    }

    // MARK: what was used

    package mutating func useCPU(_ nanoseconds: UInt64, now: Int64) {
        cpu.minute.add(nanoseconds, now: now)
        cpu.day.add(nanoseconds, now: now)
    }

    package mutating func send(_ bytes: UInt64, now: Int64) {
        egress.minute.add(bytes, now: now)
        egress.day.add(bytes, now: now)
    }

    /// True when forgetting it changes nothing for anybody.
    package func isIdle(now: LimitTime) -> Bool {
        running == 0 && waiting == 0 && bucket?.isFull(now: now.monotonic) != false && cpu.day.used(at: now.unix) == 0
            && egress.day.used(at: now.unix) == 0
    }
}

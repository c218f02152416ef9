// How much housekeeping an HTTP/2 client may ask for: decides, with the time passed in, when enough is enough.
internal import Platform

/// A bucket of permits that fills at a steady rate.
struct PermitBucket {
    private let capacity: UInt64
    private let perSecond: UInt64
    private var permits: UInt64
    private var filledAt: MonotonicTime

    init(capacity: UInt64, perSecond: UInt64, now: MonotonicTime) {
        self.capacity = capacity
        self.perSecond = perSecond
        permits = capacity
        filledAt = now
    }

    /// False when none is left.
    mutating func take(_ now: MonotonicTime) -> Bool {
        let earned = now.since(filledAt) / (1_000_000_000 / perSecond)
        if earned > 0 {
            permits = min(capacity, permits + earned)
            filledAt = now
        }
        guard permits > 0 else { return false }
        permits -= 1
        return true
    }
}

/// Frames that cost us work and bring the client nothing: more of them than any honest client sends ends the connection.
struct HTTP2Calm {
    private var resets: PermitBucket
    private var idleFrames: PermitBucket

    init(now: MonotonicTime) {
        // Each reset may have cost a started invocation.
        resets = PermitBucket(capacity: 200, perSecond: 50, now: now)
        idleFrames = PermitBucket(capacity: 1_000, perSecond: 200, now: now)
    }

    mutating func allowsReset(_ now: MonotonicTime) -> Bool { resets.take(now) }

    /// PING, SETTINGS, PRIORITY, empty DATA.
    mutating func allowsIdleFrame(_ now: MonotonicTime) -> Bool { idleFrames.take(now) }
}

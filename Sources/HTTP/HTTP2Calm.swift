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

    mutating func earn(_ more: UInt64) { permits = min(capacity, permits + more) }

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
    private var openings: PermitBucket

    init(now: MonotonicTime) {
        // Each reset may have cost a started invocation.
        resets = PermitBucket(capacity: 200, perSecond: 50, now: now)
        idleFrames = PermitBucket(capacity: 1_000, perSecond: 200, now: now)
        openings = PermitBucket(capacity: 4_000, perSecond: 1_000, now: now)
    }

    /// By the client, or by us because of what it sent: either way it gets work begun and holds no stream for it.
    mutating func allowsReset(_ now: MonotonicTime) -> Bool { resets.take(now) }

    /// WINDOW_UPDATE; what a client that takes answers sends is earned by them.
    mutating func allowsOpening(_ now: MonotonicTime) -> Bool { openings.take(now) }

    /// A DATA frame went out.
    mutating func earnOpenings() { openings.earn(8) }

    /// PING, SETTINGS, PRIORITY, GOAWAY, empty DATA, streams beyond the limit, heads for streams that are over.
    mutating func allowsIdleFrame(_ now: MonotonicTime) -> Bool { idleFrames.take(now) }
}

/// The numbers that a client gave its streams, and those that it passed over and may never use.
struct StreamIdentifiers {
    private static let remembered = 16

    private(set) var last: Int32 = 0
    private var skipped: [ClosedRange<Int32>] = []

    mutating func open(_ id: Int32) {
        if id > last + 2 {
            if skipped.count == Self.remembered { skipped.removeFirst() }
            skipped.append((last + 1)...(id - 1))
        }
        last = max(last, id)
    }

    func isSkipped(_ id: Int32) -> Bool { skipped.contains { $0.contains(id) } }
}

// Counts wrong credentials by address, so that guessing is slow and a flood of it fills no log. Pure: `now` is passed in.

package struct AttemptLimiter: Sendable {
    /// Wrong ones at once, and each second after that.
    static let burst = 20.0
    static let perSecond = 0.5
    /// Addresses that are remembered.
    static let capacity = 8192

    private struct Bucket {
        var left: Double
        /// Milliseconds, of a clock that only goes on.
        var at: UInt64
    }

    private var buckets: [String: Bucket] = [:]

    package init() {}

    /// Addresses that it knows.
    package var count: Int { buckets.count }

    /// Takes one wrong attempt down. False: there were too many, and this one is answered 429 and logged no more.
    package mutating func fail(_ address: String, now: UInt64) -> Bool {
        if buckets[address] == nil, buckets.count >= Self.capacity { forget(now) }
        var bucket = refilled(address, now)
        let isAllowed = bucket.left >= 1
        if isAllowed { bucket.left -= 1 }
        buckets[address] = bucket
        return isAllowed
    }

    /// Milliseconds until the next wrong one is answered as such; 0: now.
    package func wait(_ address: String, now: UInt64) -> UInt64 {
        let left = refilled(address, now).left
        return left >= 1 ? 0 : UInt64(((1 - left) / Self.perSecond * 1000).rounded(.up))
    }

    private func refilled(_ address: String, _ now: UInt64) -> Bucket {
        guard let bucket = buckets[address] else { return Bucket(left: Self.burst, at: now) }
        let gained = Double(now - min(now, bucket.at)) / 1000 * Self.perSecond
        return Bucket(left: min(Self.burst, bucket.left + gained), at: now)
    }

    /// Makes room: those that are full again go, else the ones that failed longest ago.
    private mutating func forget(_ now: UInt64) {
        buckets = buckets.filter { refilled($0.key, now).left < Self.burst }
        guard buckets.count >= Self.capacity else { return }
        let oldest = buckets.sorted { $0.value.at < $1.value.at }.prefix(Self.capacity / 2)
        for (address, _) in oldest { buckets[address] = nil }
    }
}

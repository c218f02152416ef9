// A token bucket in whole numbers: never more than the burst and what came since, and nothing lost by rounding.
package import Core

package struct TokenBucket: Equatable, Sendable {
    /// A token in units. A nanosecond at a rate of `n` in 1000 seconds brings exactly `n` of them.
    private static let token: UInt64 = 1_000_000_000_000

    private(set) package var rate: RequestRate
    private var units: UInt64
    /// Nanoseconds on the monotonic clock.
    private var filledAt: UInt64

    /// It begins full.
    package init(_ rate: RequestRate, now: UInt64) {
        self.rate = rate
        units = rate.burst * Self.token
        filledAt = now
    }

    private var capacity: UInt64 { rate.burst * Self.token }

    /// A clock that went back brings nothing, and takes nothing.
    private mutating func fill(_ now: UInt64) {
        guard now > filledAt else { return }
        let (brought, overflow) = (now - filledAt).multipliedReportingOverflow(by: rate.perThousandSeconds)
        filledAt = now
        units = overflow || brought >= capacity - units ? capacity : units + brought
    }

    /// What was brought until now came at the old rate. One that is raised lets the next request in, since nobody asked at the
    /// moment of the change.
    package mutating func change(to new: RequestRate, now: UInt64) {
        guard new != rate else { return }
        fill(now)
        if new.perThousandSeconds > rate.perThousandSeconds { units = max(units, Self.token) }
        rate = new
        units = min(units, capacity)
    }

    /// Takes one. Nil, or the nanoseconds until there is one.
    package mutating func take(now: UInt64) -> UInt64? {
        fill(now)
        guard units < Self.token else {
            units -= Self.token
            return nil
        }
        return wait(for: Self.token - units)
    }

    /// Gives back one that was taken for nothing.
    package mutating func giveBack() { units = min(capacity, units + Self.token) }

    /// Whole ones that are there.
    package var remaining: UInt64 { units / Self.token }

    /// Nanoseconds until it is full, seen from the last `take`.
    package var untilFull: UInt64 { wait(for: capacity - units) }

    package func isFull(now: UInt64) -> Bool {
        var copy = self
        copy.fill(now)
        return copy.units == copy.capacity
    }

    private func wait(for missing: UInt64) -> UInt64 {
        missing == 0 ? 0 : (missing - 1) / rate.perThousandSeconds + 1
    }
}

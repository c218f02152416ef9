// What was used in this minute or day of UTC.

package struct UsageWindow: Equatable, Sendable {
    package enum Length: Int64, Sendable {
        case minute = 60_000
        case day = 86_400_000
    }

    private let length: Length
    private var number: Int64 = 0
    private var used: UInt64 = 0

    package init(_ length: Length) { self.length = length }

    /// - Parameter now: milliseconds since 1970. A clock that was set back does not open an old window again.
    package func used(at now: Int64) -> UInt64 { now / length.rawValue > number ? 0 : used }

    package mutating func add(_ amount: UInt64, now: Int64) {
        let current = now / length.rawValue
        if current > number {
            number = current
            used = 0
        }
        let (sum, overflow) = used.addingReportingOverflow(amount)
        used = overflow ? .max : sum
    }

    /// Milliseconds until the next one begins.
    package func wait(at now: Int64) -> UInt64 {
        let end = (max(number, now / length.rawValue) + 1) * length.rawValue
        return UInt64(max(1, end - now))
    }
}

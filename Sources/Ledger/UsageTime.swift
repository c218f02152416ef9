// Times as people give them to the ledger: `24h`, `7d`, milliseconds since 1970, or ISO 8601.
internal import FoundationEssentials

package enum UsageTime {
    private static let units: [Character: Int64] = ["s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]

    package static let rule =
        "a span back from now such as 30m, 24h or 7d, a date such as 2026-01-31 or "
        + "2026-01-31T12:00:00Z, or milliseconds since 1970"

    /// Milliseconds since 1970; nil: it is none of these.
    package static func parse(_ text: String, now: Int64) -> Int64? {
        if let last = text.last, let unit = units[last] {
            guard let count = Int64(text.dropLast()), count >= 0 else { return nil }
            let (span, overflow) = count.multipliedReportingOverflow(by: unit)
            return overflow || span > now ? 0 : now - span
        }
        if let milliseconds = Int64(text) { return milliseconds >= 0 ? milliseconds : nil }
        let day = Date.ISO8601FormatStyle().year().month().day()
        let date = (try? Date(text, strategy: .iso8601)) ?? (try? Date(text, strategy: day))
        return date.flatMap { Int64(exactly: ($0.timeIntervalSince1970 * 1000).rounded()) }
    }
}

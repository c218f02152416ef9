// The fields that tell a caller how it stands: RateLimit-Policy and RateLimit of the IETF's draft
// (draft-ietf-httpapi-ratelimit-headers-10), and those that OpenAI's and Anthropic's clients read.
internal import Core
internal import FoundationEssentials
internal import HTTP
internal import Limits

enum RateFields {
    /// Three levels, each with two numbers of at most twenty digits.
    private static let most = 3 * 64

    static func append(_ standings: RateStandings, _ dialect: Dialect?, to headers: inout HTTPHeaders) {
        headers.append(known: "ratelimit-policy", atMost: most) { text in
            standings.forEach { text.appendItem($0.level, ";q=", $0.rate.burst, ";w=", $0.windowSeconds, isFirst: $1) }
        }
        headers.append(known: "ratelimit", atMost: most) { text in
            standings.forEach {
                text.appendItem(
                    $0.level, ";r=", $0.remaining, ";t=", ($0.resetMilliseconds + 999) / 1000, isFirst: $1)
            }
        }
        guard let dialect, let tightest = standings.all.min(by: { $0.remaining < $1.remaining }) else { return }
        dialect.append(tightest, to: &headers)
    }
}

extension OutputSpan<UInt8> {
    /// By hand, because this runs for every answer.
    fileprivate mutating func appendItem(
        _ level: LimitLevel, _ first: StaticString, _ one: UInt64, _ second: StaticString, _ two: UInt64, isFirst: Bool
    ) {
        if !isFirst { append(words: ", ") }
        switch level {
        case .platform: append(words: "\"platform\"")
        case .tenant: append(words: "\"tenant\"")
        case .key: append(words: "\"key\"")
        case .function: append(words: "\"function\"")
        }
        append(words: first)
        append(number: one)
        append(words: second)
        append(number: two)
    }

    private mutating func append(words: StaticString) {
        for place in 0..<words.utf8CodeUnitCount { unsafe append(words.utf8Start[place]) }
    }

    private mutating func append(number: UInt64) {
        if number >= 10 { append(number: number / 10) }
        append(0x30 + UInt8(truncatingIfNeeded: number % 10))
    }
}

extension Dialect {
    /// The request rate that is nearest to its end.
    fileprivate func append(_ standing: RateStanding, to headers: inout HTTPHeaders) {
        let prefix = self == .anthropic ? "anthropic-ratelimit-requests-" : "x-ratelimit-"
        let suffix = self == .anthropic ? "" : "-requests"
        headers.append(prefix + "limit" + suffix, "\(standing.rate.burst)")
        headers.append(prefix + "remaining" + suffix, "\(standing.remaining)")
        let seconds = Double(standing.resetMilliseconds) / 1000
        headers.append(
            prefix + "reset" + suffix,
            self == .anthropic ? Date(timeIntervalSinceNow: seconds).formatted(.iso8601) : "\(seconds)s")
    }
}

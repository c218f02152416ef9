// The fields that tell a caller how it stands: RateLimit-Policy and RateLimit of the IETF's draft
// (draft-ietf-httpapi-ratelimit-headers-10), and those that OpenAI's and Anthropic's clients read.
internal import Core
internal import FoundationEssentials
internal import HTTP
internal import Limits

enum RateFields {
    static func append(_ standings: RateStandings, _ dialect: Dialect?, to headers: inout HTTPHeaders) {
        headers.append(known: "ratelimit-policy") { text in
            standings.forEach { text.addItem($0.level, ";q=", $0.rate.burst, ";w=", $0.windowSeconds, isFirst: $1) }
        }
        headers.append(known: "ratelimit") { text in
            standings.forEach {
                text.addItem(
                    $0.level, ";r=", $0.remaining, ";t=", ($0.resetMilliseconds + 999) / 1000, isFirst: $1)
            }
        }
        guard let dialect, let tightest = standings.all.min(by: { $0.remaining < $1.remaining }) else { return }
        dialect.append(tightest, to: &headers)
    }
}

extension HTTPFieldValue {
    /// By hand, because this runs for every answer.
    fileprivate mutating func addItem(
        _ level: LimitLevel, _ first: StaticString, _ one: UInt64, _ second: StaticString, _ two: UInt64, isFirst: Bool
    ) {
        if !isFirst { add(", ") }
        switch level {
        case .platform: add("\"platform\"")
        case .tenant: add("\"tenant\"")
        case .key: add("\"key\"")
        case .function: add("\"function\"")
        }
        add(first)
        add(one)
        add(second)
        add(two)
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

// The fields that tell a caller how it stands: RateLimit-Policy and RateLimit of the IETF's draft
// (draft-ietf-httpapi-ratelimit-headers-10), and those that OpenAI's and Anthropic's clients read.
internal import Core
internal import FoundationEssentials
internal import HTTP
internal import Limits

enum RateFields {
    static func append(_ standings: [RateStanding], _ dialect: Dialect?, to headers: inout HTTPHeaders) {
        var policy = FieldText()
        var standing = FieldText()
        for row in standings {
            policy.addItem(row.level, ";q=", row.rate.burst, ";w=", row.windowSeconds)
            standing.addItem(row.level, ";r=", row.remaining, ";t=", (row.resetMilliseconds + 999) / 1000)
        }
        policy.append(as: "ratelimit-policy", to: &headers)
        standing.append(as: "ratelimit", to: &headers)
        guard let dialect, let tightest = standings.min(by: { $0.remaining < $1.remaining }) else { return }
        dialect.append(tightest, to: &headers)
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

/// A short field value by hand: this runs for every answer, and formatting is slow.
private struct FieldText {
    // Room for the levels there are, with the largest of numbers.
    private var text = InlineArray<256, UInt8>(repeating: 0)
    private var size = 0

    init() {}

    mutating func addItem(
        _ level: LimitLevel, _ first: StaticString, _ one: UInt64, _ second: StaticString, _ two: UInt64
    ) {
        if size > 0 { add(", ") }
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

    private mutating func add(_ word: StaticString) {
        for index in 0..<word.utf8CodeUnitCount { unsafe add(word.utf8Start[index]) }
    }

    private mutating func add(_ number: UInt64) {
        if number >= 10 { add(number / 10) }
        add(UInt8(0x30 + number % 10))
    }

    private mutating func add(_ byte: UInt8) {
        text[size] = byte
        size += 1
    }

    func append(as name: StaticString, to headers: inout HTTPHeaders) {
        _ = unsafe headers.append(known: name, text.span.extracting(..<size).bytes)
    }
}

// What is asked of the ledger, and the answer's shape: sums in groups, or single rows, a page at a time.
package import Core

package struct UsageQuery: Sendable, Equatable {
    /// What one line of the answer stands for.
    package enum Grouping: String, Sendable, CaseIterable {
        case hour, day, key, function, model
        /// A function or model of a tenant.
        case name
    }

    package static let mostPerPage = 1000

    /// Nil: every tenant, or principal.
    package var tenant: String?
    package var principal: String?
    package var by = Grouping.name
    /// Milliseconds since 1970. Sums are kept by the hour, and by the day: the hour, or day, of `since` is in whole.
    package var since: Int64
    package var until: Int64
    /// Single rows in place of sums.
    package var rows = false
    package var limit = 200
    /// What the page before said of the next; 0: the first.
    package var after: Int64 = 0

    package init(since: Int64, until: Int64) {
        self.since = since
        self.until = until
    }

    /// Reads the query of a URL: `tenant`, `key`, `by`, `since`, `until`, `rows`, `limit`, `after`.
    package init(_ text: String, now: Int64) throws(RuntimeError) {
        self.init(since: now - 24 * 3_600_000, until: now)
        for field in text.split(separator: "&") {
            let parts = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let value = Self.decoded(parts[1]) else {
                throw Self.wrong(String(field), "fields are name=value")
            }
            try set(String(parts[0]), value, now)
        }
    }

    private mutating func set(_ name: String, _ value: String, _ now: Int64) throws(RuntimeError) {
        switch name {
        case "tenant": tenant = value
        case "key": principal = value
        case "by":
            guard let by = Grouping(rawValue: value) else {
                throw Self.wrong("by=\(value)", "it takes " + Grouping.allCases.map(\.rawValue).joined(separator: ", "))
            }
            self.by = by
        case "since", "until":
            guard let time = UsageTime.parse(value, now: now) else {
                throw Self.wrong("\(name)=\(value)", "it takes \(UsageTime.rule)")
            }
            if name == "since" { since = time } else { until = time }
        case "rows":
            guard ["0", "1"].contains(value) else { throw Self.wrong("rows=\(value)", "it takes 0 or 1") }
            rows = value == "1"
        case "limit":
            guard let limit = Int(value), (1...Self.mostPerPage).contains(limit) else {
                throw Self.wrong("limit=\(value)", "it takes a number from 1 to \(Self.mostPerPage)")
            }
            self.limit = limit
        case "after":
            guard let after = Int64(value), after >= 0 else {
                throw Self.wrong("after=\(value)", "it takes what `next` of the page before says")
            }
            self.after = after
        default:
            throw Self.wrong(name, "the fields are tenant, key, by, since, until, rows, limit and after")
        }
    }

    private static func wrong(_ what: String, _ cause: String) -> RuntimeError {
        RuntimeError(
            .badRequest, step: "read the query of usage: \(what.prefix(200))", cause: cause,
            next: "see `swiftlet usage --help`")
    }

    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// One line of an answer in sums.
package struct UsageGroup: Sendable, Equatable {
    /// Of the hour or day; nil when the grouping has none. So with the others.
    package var start: Int64?
    package var tenant: String?
    package var principal: String?
    package var kind: UsageRow.Kind?
    package var name: String?
    package var sums = UsageSums()
    /// Calls by the class of their outcome.
    package var classes: [UsageRow.Class: UInt64] = [:]
}

/// One page.
package struct UsagePage: Sendable, Equatable {
    package var query: UsageQuery
    package var groups: [UsageGroup] = []
    package var rows: [UsageRow] = []
    /// For `after` of the next page; nil: this is the last.
    package var next: Int64?
}

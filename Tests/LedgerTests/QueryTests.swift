// What may be asked of the ledger, and what is no question.
import Core
import Testing

@testable import Ledger

private let now: Int64 = 1_700_000_000_000

private func refusal(_ text: String) -> String? {
    do throws(RuntimeError) {
        _ = try UsageQuery(text, now: now)
        return nil
    } catch {
        return error.code == .badRequest ? error.step + ": " + error.cause : "\(error)"
    }
}

struct QueryTests {
    @Test func aQueryIsRead() throws {
        let query = try UsageQuery(
            "tenant=a%20b&key=jwt%3Ax&by=hour&since=2h&until=1699999999999&rows=1&limit=3&after=9", now: now)
        #expect(query.tenant == "a b" && query.principal == "jwt:x" && query.by == .hour && query.rows)
        #expect(
            query.since == now - 7_200_000 && query.until == 1_699_999_999_999 && query.limit == 3 && query.after == 9)
        let plain = try UsageQuery("", now: now)
        #expect(plain.since == now - 86_400_000 && plain.until == now && plain.by == .name && !plain.rows)
    }

    @Test(arguments: [
        "by=week", "since=yesterday", "until=-5", "rows=yes", "limit=0", "limit=1001", "after=-1", "colour=red",
        "tenant", "tenant=%zz", "tenant=%f", "tenant=%ff", "since=99999999999999999999h",
    ]) func whatIsNoQueryIsRefused(_ text: String) { #expect(refusal(text)?.isEmpty == false) }

    @Test func timesAreRead() {
        #expect(UsageTime.parse("90m", now: now) == now - 5_400_000)
        #expect(UsageTime.parse("7d", now: now) == now - 604_800_000)
        #expect(UsageTime.parse("9223372036854775807d", now: now) == 0)
        #expect(UsageTime.parse("1970-01-02", now: now) == 86_400_000)
        #expect(UsageTime.parse("1970-01-02T00:00:01Z", now: now) == 86_401_000)
        #expect(UsageTime.parse("12", now: now) == 12)
        for text in ["", "h", "-1h", "1.5h", "tomorrow", "1h1h"] {
            #expect(UsageTime.parse(text, now: now) == nil, "\(text)")
        }
    }
}

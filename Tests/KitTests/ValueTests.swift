// The Kit's pure parts: timers, queries, header fields.
import TestSupport
internal import SwiftletKit
import Testing

@Suite struct Values {
    @Test func timersComeDueInOrder() {
        var timers = Timers<Int>()
        let moments: [UInt64] = [50, 10, 40, 10, 30, 20, 60, 10]
        for (job, due) in moments.enumerated() { timers.insert(job, due: due) }
        #expect(timers.earliest == 10 && timers.popDue(now: 9) == nil)
        var jobs: [Int] = []
        while let job = timers.popDue(now: 50) { jobs.append(job) }
        #expect(jobs == [1, 3, 7, 5, 4, 2, 0] && timers.earliest == 60)
    }

    @Test func queriesDecode() {
        let query = Query("a=1&b=%C3%A4+x&a=2&flag&=empty&bad=%zz%4&&eq=a=b")
        #expect(query["a"] == "1" && query.values("a") == ["1", "2"])
        #expect(query["b"] == "\u{e4} x" && query["flag"] == "" && query["none"] == nil)
        #expect(query["bad"] == "%zz%4" && query["eq"] == "a=b" && query[""] == "empty")
        #expect(query.dictionary.count == 6 && Query("").pairs.isEmpty)
    }

    @Test func headersIgnoreCase() {
        var headers: Headers = ["Content-Type": "a"]
        headers.add("set-cookie", "x")
        headers.add("Set-Cookie", "y")
        #expect(headers["content-TYPE"] == "a" && headers.values("SET-cookie") == ["x", "y"])
        headers["CONTENT-type"] = "b"
        headers["set-cookie"] = nil
        #expect(headers.count == 1 && headers["content-type"] == "b")
    }
}

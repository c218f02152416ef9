// The usage ledger on a real disk: what was recorded is there, its sums agree, and what is lost is counted.
import Core
import Glibc
import Platform
import Storage
import TestSupport
import Testing

@testable import Ledger

struct LedgerTests {
    @Test func whatWasRecordedIsThereAfterARestart() throws {
        let scratch = try Scratch()
        var full = row(
            "acme", "chat", kind: .model, outcome: "timed_out", principal: "jwt:a\"b,", at: 1_700_000_000_001)
        full.isCold = true
        full.queuedNanoseconds = 1
        full.deviceNanoseconds = .max >> 1
        full.cpuNanoseconds = 0
        full.memoryPeakBytes = 4096
        (full.tokensIn, full.tokensCached, full.tokensOut, full.bytesIn, full.bytesOut) = (5, 4, 3, 2, 1)
        do {
            let ledger = try UsageLedger(stateDirectory: scratch.path)
            ledger.record(full)
            ledger.record(row(at: 1_700_000_000_002))
            ledger.close()
        }
        let ledger = try UsageLedger(stateDirectory: scratch.path)
        #expect(try rows(ledger.reader) == [full, row(at: 1_700_000_000_002)])
        #expect(ledger.lost == 0)
        // Totals are of this life.
        #expect(ledger.totals.byKey.isEmpty)
    }

    @Test func rowsAreStoredInAMomentWhileItRuns() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let running = try Running(try UsageLedger(stateDirectory: scratch.path))
        for round in 1...5 {
            running.ledger.record(row())
            var waited = 0
            while try rows(running.ledger.reader).count < round, waited < 3000 {
                usleep(5000)
                waited += 5
            }
            #expect(waited < 3000, "row \(round) came after \(waited) ms")
        }
        running.stop()
    }

    @Test func manyThreadsLoseNothingAndSumsAgreeEverywhere() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let running = try Running(try UsageLedger(stateDirectory: scratch.path))
        let (threads, each) = (4, 3000)
        let ledger = running.ledger
        try withThreads(threads) { number in
            for index in 0..<each {
                ledger.record(
                    row(
                        "t\(number % 2)", "f\(index % 3)", kind: index % 5 == 0 ? .model : .invoke,
                        outcome: ["success", "failed", "refused", "cancelled", "crashed"][index % 5],
                        at: today - Int64(index) * 5000, run: UInt64(index), tokens: 2))
            }
        }
        running.stop()
        let all = try rows(ledger.reader)
        #expect(all.count == threads * each && ledger.lost == 0)
        var sums: [String: UsageSums] = [:]
        for row in all { sums["\(row.tenant)/\(row.kind.rawValue)/\(row.name)", default: UsageSums()].add(row) }
        for by in [UsageQuery.Grouping.name, .hour, .day] {
            var query = UsageQuery(since: 0, until: .max)
            query.by = by
            let groups = try ledger.reader.read(query).groups
            #expect(groups.reduce(0) { $0 + $1.sums.calls } == UInt64(all.count))
            #expect(groups.reduce(0) { $0 + $1.sums.runNanoseconds } == all.reduce(0) { $0 + $1.runNanoseconds })
            for group in groups { #expect(group.classes.values.reduce(0, +) == group.sums.calls) }
            guard by == .name else { continue }
            for group in groups {
                #expect(group.sums == sums["\(group.tenant!)/\(group.kind!.rawValue)/\(group.name!)"])
            }
            #expect(groups.count == sums.count)
        }
        for (key, value) in ledger.totals.byKey {
            #expect(value.sums == sums["\(key.tenant)/\(key.kind.rawValue)/\(key.name)"])
            #expect(value.byOutcome.values.reduce(0, +) == value.sums.calls)
        }
    }

    @Test func rollUpsAreByTheHourAndByTheDay() throws {
        let scratch = try Scratch()
        let ledger = try UsageLedger(stateDirectory: scratch.path)
        let day: Int64 = 20_000 * 86_400_000
        for time in [day, day + 3_599_999, day + 3_600_000, day + 86_399_999, day + 86_400_000] {
            ledger.record(row(at: time))
        }
        ledger.close()
        func starts(_ by: UsageQuery.Grouping, since: Int64 = 0, until: Int64 = .max) throws -> [Int64: UInt64] {
            var query = UsageQuery(since: since, until: until)
            query.by = by
            return Dictionary(
                try ledger.reader.read(query).groups.map { ($0.start ?? -1, $0.sums.calls) }, uniquingKeysWith: +)
        }
        #expect(
            try starts(.hour) == [day: 2, day + 3_600_000: 1, day + 23 * 3_600_000: 1, day + 86_400_000: 1])
        #expect(try starts(.day) == [day: 4, day + 86_400_000: 1])
        // The hour of `since` counts whole; the one that `until` begins does not.
        #expect(try starts(.hour, since: day + 1, until: day + 3_600_000) == [day: 2])
        #expect(try starts(.day, since: day + 86_399_999, until: day + 86_400_000) == [day: 4])
    }

    @Test func aTenantSeesItsOwnOnly() throws {
        let scratch = try Scratch()
        let ledger = try UsageLedger(stateDirectory: scratch.path)
        for tenant in ["a", "b"] { for key in ["k1", "k2"] { ledger.record(row(tenant, principal: key)) } }
        ledger.close()
        #expect(try rows(ledger.reader) { $0.tenant = "a" }.map(\.tenant) == ["a", "a"])
        #expect(try rows(ledger.reader) { ($0.tenant, $0.principal) = ("a", "k2") }.map(\.principal) == ["k2"])
        var query = UsageQuery(since: 0, until: .max)
        (query.tenant, query.by) = ("b", .key)
        #expect(try ledger.reader.read(query).groups.map(\.principal) == ["k1", "k2"])
        query.tenant = "c' OR 1=1"
        #expect(try ledger.reader.read(query).groups == [])
    }

    @Test func pagesHoldEachLineOnce() throws {
        let scratch = try Scratch()
        let ledger = try UsageLedger(stateDirectory: scratch.path)
        // All in one millisecond, and one with a clock that was set back.
        for index in 0..<25 { ledger.record(row("t\(index)", at: index == 20 ? 5 : 1_700_000_000_000)) }
        ledger.close()
        #expect(try rows(ledger.reader) { $0.limit = 10 }.map(\.tenant) == (0..<25).map { "t\($0)" })
        var query = UsageQuery(since: 0, until: .max)
        query.limit = 7
        var tenants: [String] = []
        while true {
            let page = try ledger.reader.read(query)
            #expect(page.groups.count <= 7)
            tenants += page.groups.compactMap(\.tenant)
            guard let next = page.next else { break }
            query.after = next
        }
        #expect(tenants.count == 25 && Set(tenants).count == 25)
    }

    @Test func oldRowsGoBeforeOldSumsABoundedNumberAtATime() throws {
        let scratch = try Scratch()
        let store = try LedgerStore(path: scratch.file("usage.db"))
        let now: Int64 = 1_700_000_000_000
        let old = (0..<12_000).map { row(at: now - 8 * 86_400_000 + Int64($0)) }
        try store.write(tapes(old), lost: 0, reason: "", now: now)
        try store.write(tapes([row(at: now), row("x", at: now - 401 * 86_400_000)]), lost: 0, reason: "", now: now)
        var ticks = 0
        while try store.tidy(rowsBefore: now - 7 * 86_400_000, rollUpsBefore: now - 400 * 86_400_000) { ticks += 1 }
        #expect(ticks >= 1 && ticks < 10)
        let reader = UsageReader(path: scratch.file("usage.db"))
        #expect(try rows(reader).count == 2, "the newest, and the one that was stored with it")
        let groups = try reader.read(UsageQuery(since: 0, until: .max)).groups
        #expect(groups.map(\.tenant) == ["acme"] && groups.first?.sums.calls == 12_001)
        let database = try Database(path: scratch.file("usage.db"))
        var free: Int64 = -1
        for _ in 0..<20 { _ = try store.tidy(rowsBefore: 0, rollUpsBefore: 0) }
        try database.execute("PRAGMA freelist_count") { free = $0.integer(0) }
        #expect(free == 0)
    }

    @Test func aTenantIsErasedWhole() throws {
        let scratch = try Scratch()
        let running = try Running(try UsageLedger(stateDirectory: scratch.path))
        for tenant in ["a", "b", "a"] { running.ledger.record(row(tenant, run: 1)) }
        #expect(try running.ledger.erase("a") == 4, "two rows, and a sum of an hour and of a day")
        #expect(try running.ledger.erase("a") == 0)
        #expect(try rows(running.ledger.reader).map(\.tenant) == ["b"])
        #expect(try running.ledger.reader.read(UsageQuery(since: 0, until: .max)).groups.map(\.tenant) == ["b"])
        #expect(running.ledger.totals.byKey.keys.map(\.tenant) == ["b"])
        running.stop()
        #expect(try UsageLedger(stateDirectory: scratch.path).lost == 0)
    }

    @Test func aDamagedTapeIsToldAndTheSumsAreThere() throws {
        let scratch = try Scratch()
        let ledger = try UsageLedger(stateDirectory: scratch.path)
        for _ in 0..<3 { ledger.record(row()) }
        ledger.close()
        do { try Database(path: scratch.file("usage.db")).run("UPDATE call SET rows=substr(rows,1,20)") }
        #expect { try rows(ledger.reader) } throws: { "\($0)".contains("they are damaged") }
        #expect(try ledger.reader.read(UsageQuery(since: 0, until: .max)).groups.first?.sums.calls == 3)
    }

    @Test func aFileOfAnotherVersionIsRefused() throws {
        let scratch = try Scratch()
        do { _ = try UsageLedger(stateDirectory: scratch.path) }
        do { try Database(path: scratch.file("usage.db")).run("PRAGMA user_version=9") }
        #expect { try UsageLedger(stateDirectory: scratch.path) } throws: {
            ($0 as? RuntimeError)?.code == .conflict && "\($0)".contains("version 9")
        }
    }
}

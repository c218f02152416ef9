// What the ledger can't keep: a host that is killed, a disk that is full, a file that somebody holds.
import Core
import Glibc
import Platform
import Storage
import TestSupport
import Testing

@testable import Ledger

struct LossTests {
    /// - Parameter capacity: one that all rows find room in, and one that they don't.
    @Test(arguments: [65_536, 600]) func rowsOfAllLoopsAreStoredOrLostAndNoneIsBoth(_ capacity: Int) throws {
        let scratch = try Scratch()
        var options = UsageLedger.Options()
        options.capacity = capacity
        let ledger = try UsageLedger(stateDirectory: scratch.path, options: options)
        // More loops than desks.
        for loop in 0..<20 { for _ in 0..<100 { ledger.record(row("t\(loop)"), from: loop) } }
        ledger.take()
        #expect(ledger.totals.byKey.values.reduce(0) { $0 + $1.sums.calls } == 2000)
        ledger.close()
        let stored = try rows(ledger.reader).count
        #expect(stored <= capacity && stored + Int(ledger.lost) == 2000)
        #expect(capacity < 2000 ? stored >= 256 : stored == 2000)
        // Who was taken and never came is told apart from who came, on whatever desk.
        #expect(try UsageLedger(stateDirectory: scratch.path).lost == ledger.lost + 1)
    }

    @Test func rowsOfAKilledHostAreCounted() throws {
        let scratch = try Scratch()
        do {
            let ledger = try UsageLedger(stateDirectory: scratch.path)
            for _ in 0..<3 { ledger.record(row()) }
            ledger.close()
            // Taken, and the program ends before the next batch: an answer that was under way, and four rows.
            ledger.take()
            for _ in 0..<4 { ledger.record(row()) }
        }
        for _ in 0..<2 {
            let ledger = try UsageLedger(stateDirectory: scratch.path, now: 77)
            #expect(ledger.lost == 5, "and once only")
            #expect(try rows(ledger.reader).count == 3)
        }
        let database = try Database(path: scratch.file("usage.db"))
        var lines: [String] = []
        try database.execute("SELECT time,count,reason FROM lost") {
            lines.append("\($0.integer(0)) \($0.integer(1)) \($0.text(2))")
        }
        #expect(lines == ["77 5 the host was killed"])
    }

    @Test func aPageThatIsOlderThanTheFileCountsNothing() throws {
        let scratch = try Scratch()
        do {
            let ledger = try UsageLedger(stateDirectory: scratch.path)
            for _ in 0..<9 { ledger.record(row()) }
            ledger.close()
        }
        try shell("rm '\(scratch.file("usage.taken"))'")
        do {
            let ledger = try UsageLedger(stateDirectory: scratch.path)
            #expect(ledger.lost == 0)
            ledger.record(row())
        }
        #expect(try UsageLedger(stateDirectory: scratch.path).lost == 1)
    }

    /// A full disk of one's own is in Tests/IntegrationTests/usage.py; what can't be written for another reason is the same here.
    @Test func whatCantBeWrittenWaitsInMemoryAndWhatIsTooMuchIsCounted() throws {
        let scratch = try Scratch()
        var options = UsageLedger.Options()
        options.capacity = 100
        let ledger = try UsageLedger(stateDirectory: scratch.path, options: options)
        let holder = try Database(path: scratch.file("usage.db"))
        try holder.execute("BEGIN IMMEDIATE")
        for _ in 0..<150 { ledger.record(row()) }
        ledger.close()
        #expect(ledger.lost == 50)
        ledger.record(row())
        #expect(ledger.lost == 51)
        #expect(throws: RuntimeError.self) { try ledger.erase("acme") }
        try holder.execute("COMMIT")
        ledger.close()
        #expect(try rows(ledger.reader).count == 100)
        ledger.record(row())
        ledger.close()
        #expect(try rows(ledger.reader).count == 101)
        #expect(try UsageLedger(stateDirectory: scratch.path).lost == 51, "the same after a restart")
    }

    @Test func aFileThatSomebodyHoldsIsWaitedForByTheWriterAlone() throws {
        let scratch = try Scratch()
        defer { withExtendedLifetime(scratch) {} }
        let running = try Running(try UsageLedger(stateDirectory: scratch.path))
        let holder = try Database(path: scratch.file("usage.db"))
        try holder.execute("BEGIN IMMEDIATE")
        let begun = MonotonicTime.now
        for _ in 0..<1000 { running.ledger.record(row()) }
        #expect(MonotonicTime.now.since(begun) < 500_000_000)
        usleep(200_000)
        #expect(try rows(running.ledger.reader).isEmpty, "a reader sees what was there before")
        try holder.execute("COMMIT")
        running.stop()
        #expect(try rows(running.ledger.reader).count == 1000 && running.ledger.lost == 0)
    }

    @Test func theMeterRecordsOnceWhenNobodyAddsMore() throws {
        let scratch = try Scratch()
        let ledger = try UsageLedger(stateDirectory: scratch.path)
        do {
            let meter = CallMeter(row(kind: .model, outcome: ""), ledger: ledger)
            let late = meter
            #expect(meter.end("success", status: 200))
            #expect(!meter.end("cancelled", status: 0))
            late.add { $0.deviceNanoseconds += 5 }
            withExtendedLifetime(meter) { #expect(ledger.totals.byKey.isEmpty) }
        }
        do { _ = CallMeter(row("b", kind: .model, outcome: ""), ledger: ledger) }
        ledger.close()
        let all = try rows(ledger.reader)
        #expect(all.map(\.outcome) == ["success", "cancelled"] && all.first?.deviceNanoseconds == 5)
        #expect(ledger.lost == 0)
    }
}

// Rows as bytes: what comes out is what went in, and bytes that are none end nobody.
import Testing

@testable import Ledger

struct TapeTests {
    /// Rows of every kind, next to ones that are nearly the same; the same for a seed.
    private func rows(_ count: Int, seed: UInt64) -> [UsageRow] {
        var state = seed
        func next(_ bound: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % bound
        }
        func count64() -> UInt64 { next(2) == 0 ? next(300) : [0, 127, 128, .max, 1 << 62][Int(next(5))] }
        return (0..<count).map { index in
            var row = UsageRow()
            row.time = [1_700_000_000_000 + Int64(index), 5, -3, .max, .min][next(9) < 5 ? 0 : Int(next(5))]
            row.requestID = next(3) == 0 ? "" : "req-\(next(1000))"
            row.tenant = "t"
            row.principal = ["key:a", "key:ä\u{0}b", "local"][Int(next(3))]
            row.kind = next(2) == 0 ? .invoke : .model
            row.name = ["f", String(repeating: "n", count: 200)][Int(next(2))]
            row.version = next(2) == 0 ? "1" : ""
            row.route = ["fn", "chat"][Int(next(2))]
            row.outcome = ["success", "failed", "refused"][Int(next(3))]
            row.status = [200, 0, 502][Int(next(3))]
            row.isCold = next(2) == 0
            row.queuedNanoseconds = count64()
            row.runNanoseconds = count64()
            row.deviceNanoseconds = count64()
            row.cpuNanoseconds = next(2) == 0 ? nil : count64()
            row.memoryPeakBytes = next(2) == 0 ? nil : count64()
            (row.tokensIn, row.tokensCached, row.tokensOut) = (count64(), count64(), count64())
            (row.bytesIn, row.bytesOut) = (count64(), count64())
            return row
        }
    }

    @Test(arguments: UInt64(1)...20) func whatGoesInComesOut(_ seed: UInt64) {
        let rows = rows(300, seed: seed)
        let tape = tapes(rows)[0]
        for one in [tape, UsageTape(tenant: "t", count: tape.count, bytes: tape.bytes)] {
            var read: [UsageRow] = []
            #expect(one.forEach { read.append($0) })
            #expect(read == rows)
        }
        #expect(tape.latest == rows.map(\.time).max())
    }

    @Test(arguments: UInt64(1)...20) func sumsAreWholeAndHoldWhatBelongsTogether(_ seed: UInt64) {
        let rows = rows(300, seed: seed)
        var expected: [[String]: UsageSums] = [:]
        func key(_ row: UsageRow) -> [String] {
            [row.principal, row.kind.rawValue, row.name, row.outcome, "\(row.hour)"]
        }
        for row in rows { expected[key(row), default: UsageSums()].add(row) }
        var found: [[String]: UsageSums] = [:]
        let tape = tapes(rows)[0]
        for (first, sums) in tape.sums { found[key(first)] = sums }
        #expect(found == expected && tape.sums.count == expected.count)
    }

    @Test func rowsOfOneFunctionAreOneSumAndTakeLittleRoom() {
        let tape = tapes((0..<1000).map { row(at: today / 3_600_000 * 3_600_000 + $0) })[0]
        #expect(tape.sums.map(\.sums.calls) == [1000])
        #expect(tape.bytes.count < 1000 * 32)
    }

    @Test func tenantsHaveTheirOwnAndALongOneIsFollowedByAnother() {
        let many = UsageTapes.rowsPerTape
        let all = tapes((0..<(2 * many + 10)).map { row($0 % 2 == 0 ? "a" : "b", "f\($0)") } + [row("a"), row("c")])
        #expect(all.map(\.tenant) == ["a", "b", "a", "b", "c"])
        #expect(all.map(\.count) == [many, many, 6, 5, 1])
    }

    @Test func bytesThatAreNoRowsAreSaidToBeNone() {
        let tape = tapes(rows(10, seed: 7))[0]
        for end in 0..<tape.bytes.count {
            #expect(!UsageTape(tenant: "t", count: 10, bytes: Array(tape.bytes[..<end])).forEach { _ in })
        }
        #expect(!UsageTape(tenant: "t", count: 10, bytes: tape.bytes + [0]).forEach { _ in })
        // What a changed byte makes of a row is anybody's guess; it ends, and within its bytes.
        for place in tape.bytes.indices {
            for value in [UInt8(0), 0x7f, 0x80, 0xff] {
                var bytes = tape.bytes
                bytes[place] = value
                UsageTape(tenant: "t", count: 1000, bytes: bytes).forEach { _ in }
            }
        }
    }
}

// A kill at any moment of a commit looks like no tampering, loses nothing that was settled, and the log goes on.
import Core
import TestSupport
import Testing

@testable import Audit

@Suite struct CrashTests {
    /// Every state that the files have while a commit of three entries is made.
    @Test func aKillBetweenAnyTwoBytesOfACommitIsHarmless() throws {
        let bench = try Bench(entries: 4)
        let (before, key) = (try bench.log, try bench.key)
        let settled = try bench.report.end
        var writer: AuditWriter? = try AuditWriter(state: bench.scratch.path, limits: AuditLimits())
        let announced = try #require(try writer?.commit((5...7).map { (Int64($0), Bench.event($0)) }))
        writer = nil
        let after = try bench.log
        let during = AuditHead(start: .beginning, settled: settled, announced: announced).sealed(by: key)
        for length in before.count...after.count {
            try bench.setLog(Array(after[..<length]))
            try bench.setHead(during)
            let report = try bench.report
            #expect(report.end.count >= 4 && report.end.count <= 7)
            let whole = length == after.count
            try bench.write(20...20)
            let next = try bench.report
            #expect(next.end.count == (whole ? 8 : 5) && next.unfinishedBytes == 0, "killed at byte \(length)")
            // What was settled is still there.
            #expect(try bench.damage(expected: settled) == nil)
            if whole { #expect(try bench.damage(expected: announced) == nil) }
        }
        // Bytes that power took the sense of.
        for length in before.count..<after.count {
            let torn = Array(after[..<length]) + [UInt8](repeating: 0, count: after.count - length)
            try bench.setLog(torn)
            try bench.setHead(during)
            #expect(try bench.report.end.count < 7)
            try bench.write(20...20)
            #expect(try bench.report.end.count == 5)
        }
    }

    @Test func aPartOfACommitIsNotACoverForForgery() throws {
        let bench = try Bench(entries: 4)
        let (before, key, settled) = (try bench.log, try bench.key, try bench.report.end)
        let forged = AuditEntry(number: 5, milliseconds: 9, event: Bench.event(66), previous: settled.hash)
        let real = AuditEntry(number: 5, milliseconds: 9, event: Bench.event(5), previous: settled.hash)
        let announced = AuditPoint(count: 5, hash: real.hash)
        try bench.setHead(AuditHead(start: .beginning, settled: settled, announced: announced).sealed(by: key))
        try bench.setLog(before + forged.frame)
        #expect(try bench.damage()?.kind == .changed)
        #expect(!bench.opens)
        try bench.setLog(before + real.frame + forged.frame)
        #expect(try bench.damage() != nil)
        // What was settled is not covered either.
        try bench.setLog(Array(before.dropLast()))
        #expect(try bench.damage()?.kind == .tailCut)
    }

    @Test func aKillWhileALogIsBegunLeavesOneThatBegins() throws {
        for step in 0...3 {
            let scratch = try Scratch()
            try shell("mkdir '\(scratch.path)/audit'")
            let key = AuditKey.random()
            if step >= 1 { try scratch.write("audit.key.new", key.bytes) }
            if step >= 2 { try scratch.write("audit/head", AuditHead().sealed(by: key)) }
            if step >= 3 { try shell("mv '\(scratch.path)/audit.key.new' '\(scratch.path)/audit.key'") }
            var writer = try AuditWriter(state: scratch.path, limits: AuditLimits())
            _ = try writer.commit([(1, Bench.event(1))])
            #expect(try AuditVerification.run(state: scratch.path).end.count == 1, "killed after step \(step)")
        }
    }

    @Test func aKillAroundANewSegmentIsHarmless() throws {
        var limits = AuditLimits()
        limits.segmentBytes = 1
        let bench = try Bench(entries: 3, limits: limits)
        let (settled, key) = (try bench.report.end, try bench.key)
        let entry = AuditEntry(number: 4, milliseconds: 9, event: Bench.event(4), previous: settled.hash)
        let heads = [
            AuditHead(start: .beginning, settled: settled, announced: settled),
            AuditHead(start: .beginning, settled: settled, announced: AuditPoint(count: 4, hash: entry.hash)),
        ]
        for (index, head) in heads.enumerated() {
            for length in index == 0 ? 0...0 : 0...entry.frame.count {
                try bench.setHead(head.sealed(by: key))
                try bench.scratch.write("audit/\(AuditPlace.name(4))", Array(entry.frame[..<length]))
                #expect(try bench.damage() == nil)
                try bench.write(30...30, limits: limits)
                #expect(try bench.report.end.count == (length == entry.frame.count ? 5 : 4))
                try shell("rm -f '\(bench.scratch.path)/audit/\(AuditPlace.name(5))'")
            }
        }
    }

    @Test func segmentsAreWatchedLikeEntries() throws {
        var limits = AuditLimits()
        limits.segmentBytes = 1
        for (gone, kind) in [(1, AuditDamage.Kind.cutOut), (2, .cutOut), (5, .tailCut)] {
            let bench = try Bench(entries: 5, limits: limits)
            #expect(try bench.report.end.count == 5)
            try shell("rm '\(bench.scratch.path)/audit/\(AuditPlace.name(UInt64(gone)))'")
            let damage = try #require(try bench.damage())
            #expect(damage.kind == kind && damage.number == UInt64(gone))
        }
        let bench = try Bench(entries: 5, limits: limits)
        let folder = "\(bench.scratch.path)/audit"
        try shell(
            "cd '\(folder)' && mv \(AuditPlace.name(2)) x && mv \(AuditPlace.name(4)) \(AuditPlace.name(2)) && mv x \(AuditPlace.name(4))"
        )
        #expect(try bench.damage()?.kind == .reordered)
        try shell("cd '\(folder)' && cp \(AuditPlace.name(4)) \(AuditPlace.name(6))")
        #expect(try bench.damage() != nil)
    }

    @Test func theArchiveTakesOldSegmentsAndTheChainGoesOn() throws {
        var limits = AuditLimits()
        limits.segmentBytes = 1
        limits.archiveDays = 1
        let day: Int64 = 86_400_000
        let bench = try Bench(entries: 3, limits: limits)
        try bench.write(4...5, limits: limits, time: 10 * day)
        let third = AuditPoint(
            count: 3, hash: try AuditHash(bytes: Array(bench.scratch.read("audit/\(AuditPlace.name(3))").suffix(32))))
        let oldHead = try bench.head
        var writer: AuditWriter? = try AuditWriter(state: bench.scratch.path, limits: limits)
        #expect(try writer?.archive(now: 10 * day + day / 2).last == third)
        _ = try writer?.commit([(11 * day, Bench.event(6))])
        writer = nil
        var report = try bench.report
        #expect(report.start == third && report.end.count == 6)
        #expect(try bench.scratch.names(in: "audit/archive") == (1...3).map { AuditPlace.name($0) })
        #expect(try bench.damage(expected: third) == nil)
        #expect(try bench.damage(expected: AuditPoint(count: 2, hash: .none))?.kind == .cutOut)
        // Killed before a file moved: it moves at the next start.
        try shell("cd '\(bench.scratch.path)/audit' && mv archive/\(AuditPlace.name(3)) .")
        #expect(try bench.report.start == third)
        #expect(bench.opens)
        report = try bench.report
        #expect(report.start == third && report.end.count == 6)
        #expect(try bench.scratch.names(in: "audit/archive").count == 3)
        // What begins where the anchor doesn't say is cut.
        try shell("rm '\(bench.scratch.path)/audit/\(AuditPlace.name(4))'")
        #expect(try bench.damage()?.kind == .cutOut)
        try bench.setHead(oldHead)
        #expect(try bench.damage()?.number == 1)
    }
}

// Every way to lay a hand on the log that these tests could think of, tried everywhere it can be.
import Core
import TestSupport
import Testing

@testable import Audit

@Suite struct TamperingTests {
    private let entries = 6

    @Test func anUntouchedLogIsWhole() throws {
        let bench = try Bench(entries: entries)
        let report = try bench.report
        #expect(report.start == .beginning && report.end.count == 6 && report.unfinishedBytes == 0)
        #expect(try bench.damage(expected: report.end) == nil)
        #expect(try AuditVerification.head(state: bench.scratch.path) == report.end)
        #expect(bench.opens)
        #expect(try bench.report == report)
    }

    @Test func everyByteThatIsFlippedIsFoundAndItsEntryNamed() throws {
        let bench = try Bench(entries: entries)
        let whole = try bench.log
        var offset = 0
        for (index, frame) in try Bench.frames(whole).enumerated() {
            for place in offset..<offset + frame.count {
                for mask: UInt8 in [1, 0x80] {
                    var bytes = whole
                    bytes[place] ^= mask
                    try bench.setLog(bytes)
                    let damage = try #require(try bench.damage(), "byte \(place) ^ \(mask)")
                    #expect([.changed, .tailCut].contains(damage.kind), "byte \(place) ^ \(mask): \(damage)")
                    #expect(damage.number == UInt64(index + 1), "byte \(place) ^ \(mask): \(damage)")
                    #expect(!bench.opens, "byte \(place) ^ \(mask)")
                }
            }
            offset += frame.count
        }
        #expect(offset == whole.count)
    }

    @Test func everyByteOfTheAnchorAndOfTheKeyCounts() throws {
        let bench = try Bench(entries: entries)
        let head = try bench.head
        for place in head.indices {
            var bytes = head
            bytes[place] ^= 1
            try bench.setHead(bytes)
            #expect(try bench.damage()?.kind == .anchorChanged, "byte \(place)")
            #expect(!bench.opens, "byte \(place)")
        }
        for length in 0..<head.count {
            try bench.setHead(Array(head[..<length]))
            #expect(try bench.damage()?.kind == .anchorChanged, "\(length) bytes")
        }
        try bench.setHead(head)
        let key = try bench.key.bytes
        for place in key.indices {
            var bytes = key
            bytes[place] ^= 1
            try bench.scratch.write("audit.key", bytes)
            #expect(try bench.damage()?.kind == .anchorChanged, "byte \(place) of the key")
        }
        try bench.scratch.write("audit.key", key)
        #expect(try bench.damage() == nil)
    }

    @Test func everyEntryThatIsCutOutIsMissed() throws {
        let bench = try Bench(entries: entries)
        let frames = try Bench.frames(try bench.log)
        for gone in frames.indices {
            var rest = frames
            rest.remove(at: gone)
            try bench.setLog(rest.flatMap { $0 })
            let damage = try #require(try bench.damage())
            #expect(damage.kind == (gone == frames.count - 1 ? .tailCut : .cutOut))
            #expect(damage.number == UInt64(gone + 1))
            #expect(!bench.opens)
        }
    }

    @Test func everyPairThatIsSwappedIsSeen() throws {
        let bench = try Bench(entries: entries)
        let frames = try Bench.frames(try bench.log)
        for first in frames.indices {
            for second in frames.indices where second > first {
                var mixed = frames
                mixed.swapAt(first, second)
                try bench.setLog(mixed.flatMap { $0 })
                let damage = try #require(try bench.damage())
                #expect(
                    damage.kind == .reordered && damage.number == UInt64(first + 1), "\(first) \(second): \(damage)")
                #expect(!bench.opens)
            }
        }
    }

    @Test func aCopyOfAnyEntryAtAnyPlaceIsSeen() throws {
        let bench = try Bench(entries: entries)
        let frames = try Bench.frames(try bench.log)
        for copied in frames.indices {
            for place in 0...frames.count {
                var more = frames
                more.insert(frames[copied], at: place)
                try bench.setLog(more.flatMap { $0 })
                let damage = try #require(try bench.damage())
                // A copy before its place looks as if those between had moved.
                #expect(damage.kind == (copied > place ? .reordered : .inserted), "\(copied) \(place): \(damage)")
                #expect(!bench.opens)
            }
        }
    }

    @Test func everyTailThatIsCutIsMissed() throws {
        let bench = try Bench(entries: entries)
        let whole = try bench.log
        var ends: [Int] = []
        for frame in try Bench.frames(whole) { ends.append((ends.last ?? 0) + frame.count) }
        for length in 0..<whole.count {
            try bench.setLog(Array(whole[..<length]))
            let damage = try #require(try bench.damage())
            #expect(damage.kind == .tailCut, "\(length) bytes: \(damage)")
            #expect(damage.number == UInt64(ends.prefix { $0 <= length }.count + 1))
            #expect(!bench.opens)
        }
        try shell("rm '\(bench.scratch.path)/audit/\(bench.first)'")
        #expect(try bench.damage()?.kind == .tailCut)
        #expect(!bench.opens)
    }

    @Test func bytesBehindTheEndAreSeen() throws {
        let bench = try Bench(entries: entries)
        let whole = try bench.log
        for more in [[0], [1, 2, 3, 4, 5], [UInt8](repeating: 0, count: 4096), [UInt8](repeating: 255, count: 100)] {
            try bench.setLog(whole + more)
            let damage = try #require(try bench.damage())
            #expect(damage.kind == .inserted && damage.number == 7)
            #expect(!bench.opens)
        }
    }

    @Test func whoKnowsTheFormatCanAddAndRewriteNothingWithoutTheKey() throws {
        let bench = try Bench(entries: entries)
        let end = try bench.report.end
        let more = AuditEntry(number: 7, milliseconds: 1, event: Bench.event(7), previous: end.hash)
        let whole = try bench.log
        try bench.setLog(whole + more.frame)
        #expect(try bench.damage()?.kind == .inserted)
        #expect(!bench.opens)
        // Each entry in turn is replaced and everything behind it is chained anew.
        let old = try Bench.frames(whole)
        for changed in old.indices {
            var bytes: [UInt8] = []
            var previous = AuditHash.none
            for (index, frame) in old.enumerated() {
                guard case .entry(let was) = AuditEntry.read(frame, at: 0) else { throw Broken(what: "\(index)") }
                let event = index == changed ? Bench.event(99) : was.event
                let entry = AuditEntry(
                    number: was.number, milliseconds: was.milliseconds, event: event, previous: previous)
                bytes += entry.frame
                previous = entry.hash
            }
            try bench.setLog(bytes)
            #expect(try bench.damage()?.kind == .changed)
            #expect(!bench.opens)
            // And without chaining the others.
            var lazy = old
            guard case .entry(let was) = AuditEntry.read(old[changed], at: 0) else { throw Broken(what: "") }
            lazy[changed] =
                AuditEntry(
                    number: was.number, milliseconds: 5, event: Bench.event(98), previous: was.previous
                ).frame
            try bench.setLog(lazy.flatMap { $0 })
            let damage = try #require(try bench.damage())
            #expect(damage.kind == .changed)
            #expect([changed + 1, changed + 2].contains(Int(damage.number ?? 0)))
        }
    }

    @Test func withoutAnchorOrKeyNothingIsTrusted() throws {
        let bench = try Bench(entries: entries)
        let (head, key) = (try bench.head, try bench.key.bytes)
        try shell("rm '\(bench.scratch.path)/audit/head'")
        #expect(try bench.damage()?.kind == .anchorMissing)
        #expect(!bench.opens)
        try bench.setHead(head)
        try shell("rm '\(bench.scratch.path)/audit.key'")
        #expect(try bench.damage()?.kind == .keyMissing)
        #expect(!bench.opens)
        // A log is no new one because its anchor went with the key.
        try shell("rm '\(bench.scratch.path)/audit/head'")
        #expect(!bench.opens)
        try bench.setHead(head)
        try bench.scratch.write("audit.key", Array(key.dropLast()))
        #expect(try bench.damage()?.kind == .keyMissing)
        // Another log's key.
        try bench.scratch.write("audit.key", try Bench(entries: 1).key.bytes)
        #expect(try bench.damage()?.kind == .anchorChanged)
        try bench.scratch.write("audit.key", key)
        #expect(try bench.damage() == nil && bench.opens)
    }

    /// The limit of what one machine can prove of itself, and what helps.
    @Test func anOlderCopyOfBothFilesIsFoundOnlyByWhatIsKeptElsewhere() throws {
        let bench = try Bench(entries: 3)
        let (log, head, early) = (try bench.log, try bench.head, try bench.report.end)
        try bench.write(4...6)
        let late = try bench.report.end
        try bench.setLog(log)
        try bench.setHead(head)
        #expect(try bench.damage() == nil)
        #expect(try bench.damage(expected: early) == nil)
        let damage = try #require(try bench.damage(expected: late))
        #expect(damage.kind == .rolledBack && damage.number == 4)
        // It went on from there another way.
        try bench.write(11...15)
        #expect(try bench.report.end.count == 8)
        #expect(try bench.damage(expected: late)?.kind == .changed)
        #expect(try bench.damage(expected: early) == nil)
    }
}

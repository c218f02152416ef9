// Moments and timers: arithmetic that never wraps, and a heap that agrees with a sorted list.
import Platform
import TestSupport
import Testing

private func at(_ nanoseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }

@Suite struct MonotonicTimeTests {
    @Test func sumsSaturateAndDifferencesStopAtZero() {
        #expect(at(5).adding(milliseconds: 2) == at(2_000_005))
        #expect(at(5).adding(nanoseconds: 2) == at(7))
        #expect(at(5).adding(milliseconds: .max) == .distantFuture)
        #expect(at(.max - 1).adding(nanoseconds: 1) == .distantFuture)
        #expect(at(.max - 1).adding(nanoseconds: 2) == .distantFuture)
        #expect(at(0).adding(milliseconds: .max / 1_000_000).nanoseconds == UInt64.max / 1_000_000 * 1_000_000)
        #expect(at(9).since(at(4)) == 5 && at(4).since(at(9)) == 0 && at(4).since(at(4)) == 0)
        #expect(MonotonicTime.distantFuture.since(at(0)) == .max)
        #expect(at(1) < at(2) && !(at(2) < at(2)))
    }

    @Test func theClockNeverGoesBack() {
        var last = MonotonicTime.now
        for _ in 0..<10_000 {
            let now = MonotonicTime.now
            #expect(now >= last)
            last = now
        }
    }
}

@Suite struct TimerHeapTests {
    /// What ran, in order; a timer's action can only reach a reference.
    private final class Diary { var lines: [Int] = [] }

    @Test func timersRunInTheirOrderWhenTheyAreDue() {
        var heap = TimerHeap()
        let diary = Diary()
        for time in [30, 10, 20] { _ = heap.insert(at: at(UInt64(time))) { diary.lines.append(time) } }
        #expect(heap.earliest == at(10) && heap.count == 3)
        #expect(heap.popDue(at(9)) == nil)
        while let action = heap.popDue(at(20)) { action() }
        #expect(diary.lines == [10, 20] && heap.earliest == at(30))
        while let action = heap.popDue(.distantFuture) { action() }
        #expect(diary.lines == [10, 20, 30] && heap.earliest == nil && heap.count == 0)
    }

    @Test func timersOfOneMomentAllRunOnce() {
        var heap = TimerHeap()
        let diary = Diary()
        for number in 0..<100 { _ = heap.insert(at: at(7)) { diary.lines.append(number) } }
        #expect(heap.popDue(at(6)) == nil)
        while let action = heap.popDue(at(7)) { action() }
        #expect(diary.lines.sorted() == Array(0..<100))
    }

    @Test func aCancelledTimerIsGoneAndNoLongerTheEarliest() {
        var heap = TimerHeap()
        let tokens = [10, 20, 30].map { time in heap.insert(at: at(UInt64(time))) { Issue.record("it ran") } }
        heap.remove(tokens[0])
        #expect(heap.earliest == at(20) && heap.count == 2)
        heap.remove(tokens[2])
        heap.remove(tokens[2])
        heap.remove(tokens[1])
        #expect(heap.earliest == nil && heap.count == 0 && heap.popDue(.distantFuture) == nil)
    }

    @Test func aFiredTimersTokenTouchesNobodyElse() {
        var heap = TimerHeap()
        let first = heap.insert(at: at(1)) {}
        _ = heap.popDue(at(1))
        _ = heap.insert(at: at(1)) {}
        heap.remove(first)
        #expect(heap.count == 1 && heap.popDue(at(1)) != nil)
    }

    /// Many timers that are set and cancelled, as every connection does, must not pile up.
    @Test func theDeadGiveTheirPlacesBack() {
        var heap = TimerHeap()
        _ = heap.insert(at: at(1)) {}
        for round in 0..<100_000 { heap.remove(heap.insert(at: at(1_000_000 + UInt64(round))) {}) }
        #expect(heap.count == 1 && heap.earliest == at(1))
    }

    @Test(arguments: 0..<30) func agreesWithASortedList(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var heap = TimerHeap()
        let diary = Diary()
        var model: [Int: (time: UInt64, token: TimerToken)] = [:]
        var dead: [TimerToken] = []
        var now: UInt64 = 0
        for number in 0..<2000 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                let time = now + UInt64.random(in: 0...200, using: &random)
                model[number] = (time, heap.insert(at: at(time)) { diary.lines.append(number) })
            case 5..<8:
                guard let victim = model.keys.sorted().randomElement(using: &random) else { continue }
                guard let entry = model.removeValue(forKey: victim) else { continue }
                heap.remove(entry.token)
                dead.append(entry.token)
            case 8:
                if let token = dead.randomElement(using: &random) { heap.remove(token) }
            default:
                now += UInt64.random(in: 0...60, using: &random)
                diary.lines = []
                while let action = heap.popDue(at(now)) { action() }
                let due = model.filter { $0.value.time <= now }
                #expect(Set(diary.lines) == Set(due.keys) && diary.lines.count == due.count)
                let times = diary.lines.compactMap { due[$0]?.time }
                #expect(times == times.sorted())
                for (number, entry) in due {
                    model[number] = nil
                    dead.append(entry.token)
                }
            }
            #expect(heap.count == model.count)
            #expect(heap.earliest == model.values.map(\.time).min().map(at))
        }
    }
}

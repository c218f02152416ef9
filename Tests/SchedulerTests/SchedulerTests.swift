// FunctionQueue by hand: who is served, who waits, who is refused and who sleeps.
import Core
import Platform
import Scheduler
import TestSupport
import Testing

private typealias Queue = FunctionQueue<String>

private func makeQueue(concurrency: Int = 2, bound: Int = 3, patience: Int = 100, idle: UInt64 = 1000) -> Queue {
    var limits = Limits(defaultsFor: .handler)
    limits.concurrency = concurrency
    limits.queue = bound
    limits.queueTimeoutMilliseconds = patience
    return Queue(limits: limits, idleMilliseconds: idle)
}

private func at(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 0).adding(milliseconds: milliseconds)
}

extension Optional where Wrapped == FunctionQueue<String>.Next {
    fileprivate var started: String? { if case .start(let ticket) = self { ticket } else { nil } }
    fileprivate var leased: UInt32? { if case .lease(_, let worker) = self { worker } else { nil } }
}

extension Optional where Wrapped == FunctionQueue<Int>.Next {
    fileprivate var started: Int? { if case .start(let ticket) = self { ticket } else { nil } }
}

extension FunctionQueue.Arrival {
    fileprivate var words: String {
        switch self {
        case .lease(let worker): "lease \(worker)"
        case .start: "start"
        case .wait: "wait"
        case .refuse: "refuse"
        }
    }
}

@Suite struct ArrivalTests {
    @Test func aBurstStartsAsManyAsMayRunThenWaitsThenIsRefused() {
        var queue = makeQueue(concurrency: 2, bound: 3)
        let answers = (1...7).map { queue.arrive("\($0)", now: at(0)).words }
        #expect(answers == ["start", "start", "wait", "wait", "wait", "refuse", "refuse"])
        #expect(queue.live == 2 && queue.waitingCount == 3 && queue.idleCount == 0)
    }

    @Test func noQueueMeansStartOrRefuse() {
        var queue = makeQueue(concurrency: 1, bound: 0)
        #expect((1...3).map { queue.arrive("\($0)", now: at(0)).words } == ["start", "refuse", "refuse"])
        #expect(queue.nextDue == nil)
    }

    @Test func anIdleWorkerIsPreferredToANewOneAndTheWarmestToAColdOne() {
        var queue = makeQueue(concurrency: 4)
        for name in ["a", "b", "c"] { _ = queue.arrive(name, now: at(0)) }
        for worker: UInt32 in [7, 8, 9] { #expect(queue.release(worker, now: at(UInt64(worker))) == nil) }
        let answers = (1...5).map { queue.arrive("\($0)", now: at(20)).words }
        #expect(answers == ["lease 9", "lease 8", "lease 7", "start", "wait"])
    }

    @Test func aPreferredInvocationPassesAFewOlderOnesAFewTimes() {
        var queue = makeQueue(concurrency: 1, bound: 100)
        for name in ["runs", "old"] + (1...40).map({ "near\($0)" }) { _ = queue.arrive(name, now: at(0)) }
        let served = (0..<18).compactMap { queue.release(1, now: at($0), preferred: { $0.hasPrefix("near") }) }
        #expect(served == (1...16).map { "near\($0)" } + ["old", "near17"])
    }

    @Test func onlyTheOldestFewAreLookedAtForAPreferredOne() {
        var queue = makeQueue(concurrency: 1, bound: 100)
        for name in ["runs"] + (1...16).map({ "far\($0)" }) + ["near"] { _ = queue.arrive(name, now: at(0)) }
        #expect(queue.release(1, now: at(1), preferred: { $0 == "near" }) == "far1")
        #expect(queue.release(1, now: at(2), preferred: { $0 == "near" }) == "near")
    }

    @Test func aFreeWorkerGoesToWhoeverWaitedLongest() {
        var queue = makeQueue(concurrency: 1)
        for name in ["runs", "first", "second", "third"] { _ = queue.arrive(name, now: at(0)) }
        #expect((1...4).map { queue.release(1, now: at($0)) } == ["first", "second", "third", nil])
        #expect(queue.idleCount == 1 && queue.waitingCount == 0 && queue.live == 1)
    }
}

@Suite struct EndingTests {
    @Test func anEndedWorkerIsReplacedForWhoeverWaitedLongest() {
        var queue = makeQueue(concurrency: 1)
        for name in ["runs", "first", "second"] { _ = queue.arrive(name, now: at(0)) }
        #expect(queue.ended(1).started == "first")
        #expect(queue.live == 1 && queue.waitingCount == 1)
        // The replacement could not start: the next one tries.
        #expect(queue.ended(nil).started == "second")
        #expect(queue.ended(nil).started == nil)
        #expect(queue.live == 0 && queue.isEmpty)
    }

    @Test func anIdleWorkerThatEndsIsNotLent() {
        var queue = makeQueue(concurrency: 2)
        for name in ["a", "b"] { _ = queue.arrive(name, now: at(0)) }
        for worker: UInt32 in [1, 2] { _ = queue.release(worker, now: at(0)) }
        #expect(queue.ended(2).started == nil)
        #expect((1...2).map { queue.arrive("\($0)", now: at(1)).words } == ["lease 1", "start"])
    }

    @Test func aRetiringWorkerHoldsItsPlaceUntilItIsGone() {
        var queue = makeQueue(concurrency: 1, idle: 10)
        _ = queue.arrive("a", now: at(0))
        _ = queue.release(1, now: at(0))
        #expect(queue.retire(now: at(10)) == [1])
        #expect(queue.live == 1 && queue.idleCount == 0 && !queue.isEmpty)
        #expect(queue.arrive("b", now: at(11)).words == "wait")
        #expect(queue.ended(1).started == "b")
    }
}

@Suite struct TimeTests {
    @Test func waitingEndsAtTheDeadlineNotBefore() {
        var queue = makeQueue(concurrency: 1, patience: 100)
        _ = queue.arrive("runs", now: at(0))
        for (name, time) in [("a", 0), ("b", 10), ("c", 20)] as [(String, UInt64)] {
            _ = queue.arrive(name, now: at(time))
        }
        #expect(queue.nextDue == at(100))
        #expect(queue.expire(now: MonotonicTime(nanoseconds: at(100).nanoseconds - 1)) == [])
        #expect(queue.expire(now: at(110)) == ["a", "b"])
        #expect(queue.expire(now: at(110)) == [] && queue.nextDue == at(120))
        #expect(queue.release(1, now: at(115)) == "c")
    }

    @Test func expiryMakesRoomInTheQueue() {
        var queue = makeQueue(concurrency: 1, bound: 1, patience: 5)
        let answers = (1...3).map { queue.arrive("\($0)", now: at(0)).words }
        #expect(answers == ["start", "wait", "refuse"])
        #expect(queue.expire(now: at(5)) == ["2"])
        #expect(queue.arrive("4", now: at(5)).words == "wait")
    }

    @Test func noPatienceMeansExpiryAtOnce() {
        var queue = makeQueue(concurrency: 1, patience: 0)
        _ = queue.arrive("runs", now: at(7))
        #expect(queue.arrive("a", now: at(7)).words == "wait")
        #expect(queue.nextDue == at(7) && queue.expire(now: at(7)) == ["a"])
    }

    @Test func theLongestIdlersSleepAndTheQueueScalesToZero() {
        var queue = makeQueue(concurrency: 3, idle: 10)
        for name in ["a", "b", "c"] { _ = queue.arrive(name, now: at(0)) }
        for worker: UInt32 in [1, 2, 3] { _ = queue.release(worker, now: at(UInt64(worker))) }
        #expect(queue.nextDue == at(11))
        #expect(queue.retire(now: at(10)) == [])
        #expect(queue.retire(now: at(12)) == [1, 2] && queue.nextDue == at(13))
        // Work in between keeps the one that did it.
        #expect(queue.arrive("d", now: at(12)).words == "lease 3")
        #expect(queue.retire(now: at(1000)) == [] && queue.overdue(now: at(1000)) == [1, 2] && queue.nextDue == nil)
        _ = queue.release(3, now: at(20))
        #expect(queue.retire(now: at(30)) == [3])
        for worker: UInt32 in [1, 2, 3] { #expect(queue.ended(worker).started == nil) }
        #expect(queue.isEmpty && queue.live == 0 && queue.nextDue == nil)
        #expect(queue.arrive("e", now: at(31)).words == "start")
    }

    @Test func theEarlierOfExpiryAndSleepIsDue() {
        var queue = makeQueue(concurrency: 1, patience: 100, idle: 10)
        _ = queue.arrive("a", now: at(0))
        _ = queue.release(1, now: at(0))
        #expect(queue.nextDue == at(10))
        _ = queue.retire(now: at(10))
        _ = queue.arrive("b", now: at(11))
        #expect(queue.nextDue == at(111))
    }
}

/// Workers that serve one invocation each, and the spares that wait for the next.
@Suite struct FreshQueueTests {
    private func queue(concurrency: Int) -> Queue {
        var limits = Limits(defaultsFor: .handler)
        limits.concurrency = concurrency
        limits.queueTimeoutMilliseconds = 100
        return Queue(limits: limits, idleMilliseconds: 10, fresh: true)
    }

    @Test func aServedWorkerIsNotServedAgain() {
        var queue = queue(concurrency: 4)
        #expect(queue.arrive("a", now: at(0)).words == "start")
        #expect(queue.isLast(1))
        #expect(queue.dismiss(1, now: at(1)) == nil && queue.idleCount == 0 && queue.live == 1)
        #expect(queue.arrive("b", now: at(1)).words == "start", "one that leaves takes nobody's place")
    }

    @Test func sparesAreStartedWhileTheFunctionIsAwake() {
        var queue = queue(concurrency: 2)
        #expect(queue.spares(now: at(1000)) == 0, "nobody has called yet")
        _ = queue.arrive("a", now: at(0))
        #expect(queue.spares(now: at(0)) == 2 && queue.spares(now: at(0)) == 0 && queue.live == 3)
        #expect(queue.prepared(2, now: at(1)) == nil && queue.prepared(3, now: at(1)) == nil && queue.idleCount == 2)
        #expect(queue.arrive("b", now: at(2)).words == "lease 2", "the oldest spare is the one most surely ready")
        #expect(queue.arrive("c", now: at(2)).words == "wait", "two run")
        #expect(queue.dismiss(2, now: at(3)).leased == 3)
        #expect(queue.nextDue == at(253), "the worker that leaves is watched")
        #expect(queue.overdue(now: at(253)) == [2] && queue.ended(2) == nil)
        #expect(queue.spares(now: at(4)) == 2)
        _ = queue.prepared(4, now: at(4))
        queue.spareFailed()
        #expect(queue.retire(now: at(13)) == [] && queue.retire(now: at(14)) == [4])
        #expect(queue.spares(now: at(14)) == 0, "asleep")
        for worker: UInt32 in [1, 3, 4] { _ = queue.ended(worker) }
        #expect(queue.isEmpty)
    }

    @Test func aSpareThatCameLateServesWhoWaits() {
        var queue = queue(concurrency: 1)
        _ = queue.arrive("a", now: at(0))
        _ = queue.spares(now: at(0))
        #expect(queue.arrive("b", now: at(0)).words == "wait")
        #expect(queue.prepared(2, now: at(1)) == nil, "a runs")
        #expect(queue.ended(1).leased == 2, "its worker died: a spare takes the next")
    }

    @Test func missesAskForMoreSpares() {
        var queue = queue(concurrency: 64)
        for number in 0..<4 { #expect(queue.arrive("\(number)", now: at(0)).words == "start") }
        #expect(queue.spares(now: at(0)) == 32)
    }
}

@Suite struct OutdatedWorkerTests {
    @Test func idleOnesGoAndBusyOnesFinish() {
        var queue = Queue(limits: Limits(defaultsFor: .handler), idleMilliseconds: 10)
        for ticket in ["a", "b", "c"] { _ = queue.arrive(ticket, now: at(0)) }
        _ = queue.release(1, now: at(1))
        #expect(queue.outdate([1, 2], now: at(1)) == [1] && queue.idleCount == 0)
        #expect(queue.isLast(2) && !queue.isLast(3) && !queue.isLast(1))
        #expect(queue.dismiss(2, now: at(2)) == nil && queue.live == 3)
        _ = queue.release(3, now: at(2))
        #expect(queue.arrive("d", now: at(3)).words == "lease 3")
    }
}

@Suite struct AheadTests {
    /// All workers busy, and as many invocations waiting as are named.
    private func busy(workers: Int, waiting: Int, shortRuns: Int = 64) -> Queue {
        var queue = makeQueue(concurrency: workers, bound: 100)
        for number in 0..<(workers + waiting) { _ = queue.arrive("\(number)", now: at(0)) }
        for _ in 0..<shortRuns { queue.ran(100_000) }
        return queue
    }

    @Test func theOldestGoesAheadWhileEachWorkerHasItsShare() {
        var queue = busy(workers: 2, waiting: 4)
        #expect(queue.ahead(1, behind: 0, where: { _ in true }) == "2")
        #expect(queue.ahead(2, behind: 0, where: { _ in true }) == "3")
        #expect(queue.ahead(1, behind: 1, where: { _ in true }) == "4")
        #expect(queue.ahead(2, behind: 1, where: { _ in true }) == nil, "the last one goes to whoever is free first")
        #expect(queue.waitingCount == 1)
    }

    @Test func aWorkerHoldsFew() {
        var queue = busy(workers: 1, waiting: 50)
        #expect(queue.ahead(1, behind: 2, where: { _ in true }) != nil)
        #expect(queue.ahead(1, behind: 3, where: { _ in true }) == nil)
    }

    @Test func nothingGoesBehindWhatMayTakeLong() {
        var queue = busy(workers: 1, waiting: 9, shortRuns: 63)
        #expect(queue.ahead(1, behind: 0, where: { _ in true }) == nil)
        queue.ran(1)
        #expect(queue.ahead(1, behind: 0, where: { _ in true }) != nil)
        queue.ran(100_001)
        #expect(queue.ahead(1, behind: 0, where: { _ in true }) == nil)
    }

    @Test func aWorkerThatIsToEndGetsNothingMore() {
        var queue = busy(workers: 1, waiting: 9)
        #expect(queue.outdate([1], now: at(0)).isEmpty)
        #expect(queue.ahead(1, behind: 0, where: { _ in true }) == nil)
    }

    @Test func theOldestIsPassedAFewTimesOnly() {
        var queue = busy(workers: 1, waiting: 40)
        var passed = 0
        while queue.ahead(1, behind: 0, where: { $0 != "1" }) != nil { passed += 1 }
        #expect(passed == 16 && queue.release(1, now: at(0)) == "1")
    }

    @Test func whoComesBackIsFirstAndNotRefused() {
        var queue = busy(workers: 1, waiting: 100)
        guard let ticket = queue.ahead(1, behind: 0, where: { _ in true }) else { return #expect(Bool(false)) }
        #expect(queue.arrive("late", now: at(0)).words == "wait" && queue.arrive("later", now: at(0)).words == "refuse")
        #expect(queue.comeBack(ticket, now: at(0)).words == "wait" && queue.release(1, now: at(0)) == ticket)
        var empty = makeQueue(concurrency: 1)
        #expect(empty.comeBack("x", now: at(0)).words == "start")
        #expect(empty.release(1, now: at(0)) == nil && empty.comeBack("y", now: at(0)).words == "lease 1")
    }
}

/// Random lives of a queue against a model that knows every worker and every ticket.
@Suite struct FunctionQueueProperties {
    private struct Model {
        var queue: FunctionQueue<Int>
        let concurrency: Int
        let bound: Int
        let patience: UInt64
        var now: UInt64 = 0
        var nextTicket = 0
        var nextWorker: UInt32 = 1
        var idle: [UInt32] = []
        var busy: Set<UInt32> = []
        var retiring: Set<UInt32> = []
        /// Those of `retiring` that are to be ended by force.
        var named: Set<UInt32> = []
        var waiting: [(ticket: Int, deadline: UInt64)] = []
        var answered: [Int: Int] = [:]

        var live: Int { idle.count + busy.count + retiring.count }

        mutating func note(_ ticket: Int) { answered[ticket, default: 0] += 1 }

        mutating func startWorker() {
            busy.insert(nextWorker)
            nextWorker += 1
        }

        mutating func arrive() {
            let ticket = nextTicket
            nextTicket += 1
            switch queue.arrive(ticket, now: at(now)) {
            case .lease(let worker):
                #expect(idle.popLast() == worker)
                busy.insert(worker)
                note(ticket)
            case .start:
                #expect(idle.isEmpty && live < concurrency)
                startWorker()
                note(ticket)
            case .wait:
                #expect(idle.isEmpty && live == concurrency && waiting.count < bound)
                waiting.append((ticket, now + patience))
            case .refuse:
                #expect(idle.isEmpty && live == concurrency && waiting.count == bound)
                note(ticket)
            }
        }

        mutating func release(_ worker: UInt32) {
            let ticket = queue.release(worker, now: at(now))
            #expect(ticket == waiting.first?.ticket)
            if let ticket {
                waiting.removeFirst()
                note(ticket)
            } else {
                busy.remove(worker)
                idle.append(worker)
            }
        }

        /// Goes ahead, and comes back when the worker ended before its turn.
        mutating func goAhead(_ worker: UInt32, comesBack: Bool) {
            for _ in 0..<64 { queue.ran(1) }
            guard let ticket = queue.ahead(worker, behind: 0, where: { _ in true }) else {
                return #expect(waiting.count < live)
            }
            #expect(ticket == waiting.removeFirst().ticket)
            guard comesBack else { return note(ticket) }
            guard case .wait = queue.comeBack(ticket, now: at(now)) else { return #expect(Bool(false)) }
            waiting.insert((ticket, now + patience), at: 0)
        }

        mutating func end(_ worker: UInt32) {
            busy.remove(worker)
            retiring.remove(worker)
            idle.removeAll { $0 == worker }
            let ticket = queue.ended(worker).started
            #expect(ticket == waiting.first?.ticket)
            guard let ticket else { return }
            waiting.removeFirst()
            note(ticket)
            startWorker()
        }

        mutating func tick() {
            let expired = queue.expire(now: at(now))
            #expect(expired == waiting.prefix { $0.deadline <= now }.map(\.ticket))
            waiting.removeFirst(expired.count)
            for ticket in expired { note(ticket) }
            let retired = queue.retire(now: at(now))
            #expect(retired == Array(idle.prefix(retired.count)))
            idle.removeFirst(retired.count)
            retiring.formUnion(retired)
            let late = queue.overdue(now: at(now))
            #expect(Set(late).isSubset(of: retiring) && named.isDisjoint(with: late), "each is named once")
            named.formUnion(late)
        }

        func check() {
            #expect(queue.live == live && queue.live <= concurrency)
            #expect(queue.waitingCount == waiting.count && queue.waitingCount <= bound)
            #expect(queue.idleCount == idle.count)
            #expect(idle.isEmpty || waiting.isEmpty, "a worker idles while an invocation waits")
            #expect(queue.isEmpty == (live == 0 && waiting.isEmpty))
            #expect((queue.nextDue == nil) == (idle.isEmpty && waiting.isEmpty && retiring.isSubset(of: named)))
        }
    }

    @Test(arguments: 0..<60) func everyTicketIsAnsweredOnceAndNoBoundIsPassed(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let (concurrency, bound) = (Int.random(in: 1...5, using: &random), Int.random(in: 0...6, using: &random))
        let patience = Int.random(in: 0...40, using: &random)
        var limits = Limits(defaultsFor: .handler)
        limits.concurrency = concurrency
        limits.queue = bound
        limits.queueTimeoutMilliseconds = patience
        var model = Model(
            queue: FunctionQueue(limits: limits, idleMilliseconds: UInt64.random(in: 0...30, using: &random)),
            concurrency: concurrency, bound: bound, patience: UInt64(patience))
        for _ in 0..<600 {
            model.now += UInt64.random(in: 0...5, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5: model.arrive()
            case 5..<7: if let worker = model.busy.sorted().randomElement(using: &random) { model.release(worker) }
            case 7 where model.now.isMultiple(of: 2):
                guard let worker = model.busy.sorted().randomElement(using: &random) else { continue }
                model.goAhead(worker, comesBack: Bool.random(using: &random))
            case 7:
                let all = model.idle + model.busy.sorted() + model.retiring.sorted()
                if let worker = all.randomElement(using: &random) { model.end(worker) }
            default: model.tick()
            }
            model.check()
        }
        // Everything ends: what waits is either served or expires, and nothing stays alive.
        model.now += 1000
        while model.live > 0 || !model.waiting.isEmpty {
            model.tick()
            for worker in model.idle + model.busy.sorted() + model.retiring.sorted() { model.end(worker) }
            model.check()
        }
        #expect(model.answered.count == model.nextTicket && model.answered.values.allSatisfy { $0 == 1 })
    }
}

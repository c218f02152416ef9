// The life of a model: loaded once for many, kept while used, unloaded when idle, put off when it keeps dying.
@testable import Inference
import Platform
import TestSupport
import Testing

private func id(_ number: Int) -> GenerationID { GenerationID(UInt64(number)) }
private func at(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 0).adding(milliseconds: milliseconds)
}

private func lifecycle() -> ModelLifecycle {
    var policy = ModelLifecycle.Policy()
    policy.keepAliveMilliseconds = 1_000
    policy.loadTimeoutMilliseconds = 5_000
    return ModelLifecycle(policy: policy)
}

extension ModelLifecycle {
    /// Does what a node with memory for everybody does: whoever asks for it has it at once.
    fileprivate mutating func act(_ event: Event, now: MonotonicTime) -> [Action] {
        let actions = handle(event, now: now)
        guard actions.contains(.reserve) else { return actions }
        return actions.filter { $0 != .reserve && $0 != .wake(at: now.adding(milliseconds: 5_000)) }
            + handle(.room, now: now)
    }
}

@Test func manyCallersLoadOnce() {
    var model = lifecycle()
    #expect(model.handle(.request(id(1)), now: at(0)) == [.wake(at: at(5_000)), .reserve])
    #expect(model.handle(.request(id(2)), now: at(1)) == [])
    #expect(model.handle(.room, now: at(1)) == [.start, .wake(at: at(5_001))])
    #expect(model.handle(.loaded, now: at(2)) == [.run([id(1), id(2)])])
    #expect(model.handle(.request(id(3)), now: at(3)) == [.run([id(3)])])
    #expect(model.state == .ready(active: 3, idleUntil: nil))
}

@Test func anIdleModelIsUnloadedAndABusyOneNot() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.act(.loaded, now: at(1))
    #expect(model.act(.tick, now: at(60_000)) == [])
    #expect(model.act(.finished, now: at(60_000)) == [.wake(at: at(61_000))])
    #expect(model.act(.tick, now: at(60_999)) == [])
    #expect(model.act(.tick, now: at(61_000)) == [.close])
    // A caller who comes now waits for the old worker's end.
    #expect(model.act(.request(id(2)), now: at(61_001)) == [])
    #expect(model.act(.exited("unloaded"), now: at(61_002)) == [.start, .wake(at: at(66_002))])
}

@Test func aRequestResetsTheIdleClock() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.act(.loaded, now: at(1))
    _ = model.act(.finished, now: at(10))
    _ = model.act(.request(id(2)), now: at(900))
    #expect(model.act(.tick, now: at(1_010)) == [])
    _ = model.act(.finished, now: at(1_100))
    #expect(model.act(.tick, now: at(1_010)) == [])
    #expect(model.act(.tick, now: at(2_100)) == [.close])
}

@Test func aFailedLoadTellsEveryWaiterWhy() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.act(.request(id(2)), now: at(0))
    #expect(
        model.act(.failed("open: truncated"), now: at(1)) == [
            .refuse([id(1), id(2)], .loadFailed("open: truncated"))
        ])
    #expect(model.act(.exited("gone"), now: at(2)) == [])
    #expect(model.state == .cold)
    #expect(model.act(.request(id(3)), now: at(3)).first == .start)
}

@Test func aLoadThatHangsIsGivenUp() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    #expect(
        model.act(.tick, now: at(5_000)) == [.close, .refuse([id(1)], .loadFailed("load: not ready after 5000 ms"))])
}

@Test func crashLoopsArePutOffLongerAndLonger() {
    var model = lifecycle()
    var now: UInt64 = 0
    func crash() {
        #expect(model.act(.request(id(1)), now: at(now)).first == .start)
        _ = model.act(.exited("SIGSEGV"), now: at(now))
    }
    for _ in 0..<3 { crash() }
    #expect(
        model.act(.request(id(2)), now: at(now))
            == [.refuse([id(2)], .backingOff("SIGSEGV", retryAfterMilliseconds: 1_000))])
    now += 1_000
    crash()
    #expect(
        model.act(.request(id(2)), now: at(now))
            == [.refuse([id(2)], .backingOff("SIGSEGV", retryAfterMilliseconds: 2_000))])
}

@Test func aWorkerThatLivedLongIsForgiven() {
    var model = lifecycle()
    for round in 0..<10 {
        let now = UInt64(round) * 100_000
        #expect(model.act(.request(id(1)), now: at(now)).first == .start)
        _ = model.act(.loaded, now: at(now))
        _ = model.act(.exited("SIGSEGV"), now: at(now + 61_000))
    }
}

@Test func whoLeavesIsNotRun() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.act(.cancelled(id(1)), now: at(1))
    #expect(model.act(.loaded, now: at(2)) == [.wake(at: at(1_002))])
}

@Test func aRetiredModelLeavesAfterItsWork() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.act(.loaded, now: at(1))
    #expect(model.act(.retire, now: at(2)) == [])
    #expect(model.act(.finished, now: at(3)) == [.close])
}

/// Every request that isn't cancelled is run or refused exactly once, and a worker is never started twice.
@Test func nobodyIsLostInRandomLives() {
    for seed in 0..<500 {
        var generator = SeededGenerator(seed: UInt64(seed))
        var model = lifecycle()
        var now: UInt64 = 0
        var alive = false
        var queued = false
        var active = 0
        var open: Set<GenerationID> = []
        var next = 0

        func handle(_ event: ModelLifecycle.Event) {
            for action in model.handle(event, now: at(now)) {
                switch action {
                case .start:
                    #expect(!alive, "seed \(seed): started twice")
                    alive = true
                case .run(let ids):
                    active += ids.count
                    for id in ids { #expect(open.remove(id) != nil, "seed \(seed)") }
                case .refuse(let ids, _): for id in ids { #expect(open.remove(id) != nil, "seed \(seed)") }
                case .close: #expect(alive && active == 0, "seed \(seed): closed while busy")
                case .reserve:
                    #expect(!queued && !alive, "seed \(seed): asked twice")
                    queued = true
                case .release: queued = false
                case .wake(let time): #expect(time >= at(now))
                }
            }
            if case .queued = model.state { return #expect(queued, "seed \(seed): waits for nobody") }
            queued = false
        }

        for _ in 0..<300 {
            now += UInt64.random(in: 0...800, using: &generator)
            switch Int.random(in: 0..<11, using: &generator) {
            case 0, 1, 2:
                open.insert(id(next))
                handle(.request(id(next)))
                next += 1
            case 3:
                if let victim = open.min(by: { $0.value < $1.value }) {
                    open.remove(victim)
                    handle(.cancelled(victim))
                }
            case 4: if alive, case .loading = model.state { handle(.loaded) }
            case 5:
                if active > 0 {
                    active -= 1
                    handle(.finished)
                }
            case 6: handle(.tick)
            case 7:
                if queued {
                    queued = false
                    handle(Bool.random(using: &generator) ? .room : .noRoom("full"))
                }
            case 8: handle([.evict, .hurry(true), .hurry(false), .warm].randomElement(using: &generator) ?? .tick)
            case 9: handle(.keep(Bool.random(using: &generator)))
            default:
                if alive, Int.random(in: 0..<3, using: &generator) == 0 || model.state == .unloading {
                    alive = false
                    active = 0
                    handle(.exited("end"))
                }
            }
        }
        #expect(Set(model.waiters) == open, "seed \(seed)")
    }
}

@Test func aModelWithoutMemoryWaitsAndIsToldWhenItTakesTooLong() {
    var model = lifecycle()
    #expect(model.handle(.request(id(1)), now: at(0)) == [.wake(at: at(5_000)), .reserve])
    #expect(model.state == .queued(deadline: at(5_000)))
    #expect(model.handle(.tick, now: at(4_999)) == [])
    #expect(
        model.handle(.tick, now: at(5_000))
            == [.release, .refuse([id(1)], .noRoom("no memory for it after 5000 ms"))])
    // That is no crash: it asks again at once.
    #expect(model.state == .cold)
    #expect(model.incident == nil)
    #expect(model.handle(.request(id(2)), now: at(5_001)).last == .reserve)
    #expect(model.handle(.noRoom("too large"), now: at(5_002)) == [.refuse([id(2)], .noRoom("too large"))])
}

@Test func whoLeavesTheQueueGivesItsPlaceBack() {
    var model = lifecycle()
    _ = model.handle(.request(id(1)), now: at(0))
    _ = model.handle(.request(id(2)), now: at(0))
    #expect(model.handle(.cancelled(id(1)), now: at(1)) == [])
    #expect(model.handle(.cancelled(id(2)), now: at(2)) == [.release])
    #expect(model.handle(.room, now: at(3)) == [.release], "room for nobody goes back")
}

@Test func onlyAnIdleModelIsEvicted() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    #expect(model.handle(.evict, now: at(1)) == [], "loading")
    _ = model.handle(.loaded, now: at(2))
    #expect(model.handle(.evict, now: at(3)) == [], "busy")
    _ = model.handle(.finished, now: at(4))
    #expect(model.handle(.evict, now: at(5)) == [.close])
}

@Test func aKeptModelLoadsByItselfStaysAndComesBack() {
    var model = lifecycle()
    #expect(model.act(.keep(true), now: at(0)).first == .start)
    #expect(model.handle(.loaded, now: at(1)) == [])
    #expect(model.handle(.tick, now: at(900_000)) == [])
    #expect(model.handle(.evict, now: at(900_000)) == [])
    #expect(model.state == .ready(active: 0, idleUntil: nil))
    #expect(model.act(.exited("SIGSEGV"), now: at(900_001)).first == .start)
    _ = model.handle(.loaded, now: at(900_002))
    #expect(model.handle(.keep(false), now: at(900_003)) == [.wake(at: at(901_003))])
    #expect(model.handle(.tick, now: at(901_003)) == [.close])
}

@Test func aKeptModelThatKeepsDyingIsTriedAgainByItself() {
    var model = lifecycle()
    _ = model.act(.keep(true), now: at(0))
    for _ in 0..<2 { #expect(model.act(.exited("SIGSEGV"), now: at(1)).first == .start) }
    #expect(model.handle(.exited("SIGSEGV"), now: at(2)) == [.wake(at: at(1_002))])
    #expect(model.incident == ModelLifecycle.Incident(crashes: 3, cause: "SIGSEGV", nextTry: at(1_002)))
    #expect(model.blockedUntil(at(2)) == at(1_002))
    #expect(model.blockedUntil(at(1_002)) == nil)
    #expect(model.act(.tick, now: at(1_002)).first == .start)
    // What has lived for long enough ends the incident.
    #expect(model.handle(.loaded, now: at(1_100)) == [.wake(at: at(61_100))])
    _ = model.handle(.tick, now: at(61_100))
    #expect(model.incident == nil)
}

@Test func aVersionThatIsTheLatestAgainStays() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.handle(.loaded, now: at(1))
    #expect(model.handle(.hurry(true), now: at(2)) == [])
    #expect(model.handle(.hurry(false), now: at(3)) == [])
    #expect(model.handle(.finished, now: at(4)) == [.wake(at: at(1_004))])
}

@Test func anOldVersionGoesWithItsLastAnswer() {
    var model = lifecycle()
    _ = model.act(.request(id(1)), now: at(0))
    _ = model.handle(.loaded, now: at(1))
    #expect(model.handle(.hurry(true), now: at(2)) == [])
    #expect(model.handle(.request(id(2)), now: at(3)) == [.run([id(2)])])
    #expect(model.handle(.finished, now: at(4)) == [])
    #expect(model.handle(.finished, now: at(5)) == [.close])
    // It may be asked again, and then it has its keep-alive.
    _ = model.handle(.exited("unloaded"), now: at(6))
    #expect(model.act(.request(id(3)), now: at(7)).first == .start)
    _ = model.handle(.loaded, now: at(8))
    #expect(model.handle(.finished, now: at(9)) == [.wake(at: at(1_009))])
}

// Which model computes next: fair by weight over steps of any length, no idle core, nobody left out, nothing lost with a worker.
import Platform
import TestSupport
import Testing

@testable import Inference

/// Models with steps of random length on one device; time passes from one result to the next.
private struct DeviceWorld {
    struct Model {
        let party: DeviceShares.Party
        let threads: Int
        /// Nanoseconds.
        let steps: ClosedRange<UInt64>
        var busy = true
        var ends: MonotonicTime?
        var asked: MonotonicTime?
        var served: UInt64 = 0
        var longestWait: UInt64 = 0
    }

    var shares: DeviceShares
    var models: [Model] = []
    var now = MonotonicTime(nanoseconds: 1)
    var random: SeededGenerator
    /// Nanoseconds in which somebody who fitted waited.
    var wasted: UInt64 = 0

    init(capacity: Int, seed: UInt64) {
        shares = DeviceShares(capacity: capacity)
        random = SeededGenerator(seed: seed)
    }

    mutating func add(threads: Int = 1, weight: Double = 1, milliseconds: ClosedRange<UInt64>) {
        let party = shares.join(threads: threads)
        shares.setWeight(weight, of: party)
        models.append(
            Model(
                party: party, threads: min(threads, shares.capacity),
                steps: milliseconds.lowerBound * 1_000_000...milliseconds.upperBound * 1_000_000))
    }

    mutating func ask(_ index: Int) {
        models[index].asked = now
        if shares.take(models[index].party, now: now) { begin(index) }
    }

    private mutating func begin(_ index: Int) {
        models[index].longestWait = max(models[index].longestWait, now.since(models[index].asked ?? now))
        models[index].asked = nil
        let length = UInt64.random(in: models[index].steps, using: &random)
        models[index].ends = now.adding(nanoseconds: length)
    }

    mutating func passOn() {
        for party in shares.next(now: now) {
            guard let index = models.firstIndex(where: { $0.party == party }) else { continue }
            begin(index)
        }
    }

    /// The next step ends, and its model asks again if it has more.
    mutating func turn() -> Bool {
        guard
            let (index, end) = models.indices.compactMap({ index in models[index].ends.map { (index, $0) } }).min(by: {
                $0.1 < $1.1
            })
        else { return false }
        let used = models.reduce(0) { $0 + ($1.ends == nil ? 0 : $1.threads) }
        let fits = models.contains { $0.asked != nil && used + $0.threads <= shares.capacity }
        if fits { wasted += end.since(now) }
        now = end
        models[index].ends = nil
        models[index].served += shares.giveBack(models[index].party, now: now) * UInt64(models[index].threads)
        if models[index].busy { ask(index) }
        passOn()
        return true
    }

    mutating func run(seconds: UInt64) {
        let end = now.adding(milliseconds: seconds * 1000)
        for index in models.indices where models[index].ends == nil && models[index].asked == nil { ask(index) }
        passOn()
        while now < end, turn() {}
    }
}

/// A device as an object: `#expect` can't change a value.
@dynamicMemberLookup private final class Lent {
    private var shares: DeviceShares

    init(capacity: Int) { shares = DeviceShares(capacity: capacity) }

    subscript<Value>(dynamicMember path: KeyPath<DeviceShares, Value>) -> Value { shares[keyPath: path] }
    func holds(_ party: DeviceShares.Party) -> Bool { shares.holds(party) }
    func join(threads: Int) -> DeviceShares.Party {
        let party = shares.join(threads: threads)
        shares.setWeight(1, of: party)
        return party
    }
    func take(_ party: DeviceShares.Party, now: MonotonicTime) -> Bool { shares.take(party, now: now) }
    func giveBack(_ party: DeviceShares.Party, now: MonotonicTime) -> UInt64 { shares.giveBack(party, now: now) }
    func next(now: MonotonicTime) -> [DeviceShares.Party] { shares.next(now: now) }
    func leave(_ party: DeviceShares.Party, now: MonotonicTime) { shares.leave(party, now: now) }
}

@Suite struct DeviceSharesTests {
    @Test(arguments: 0..<8 as Range<UInt64>)
    func twoThatAlwaysHaveMoreGetTheirWeightsWithinFivePerCent(seed: UInt64) {
        var choice = SeededGenerator(seed: seed)
        let (short, long) = (UInt64.random(in: 1...20, using: &choice), UInt64.random(in: 20...250, using: &choice))
        let weights = [Double.random(in: 0.2...5, using: &choice), Double.random(in: 0.2...5, using: &choice)]
        var world = DeviceWorld(capacity: 1, seed: seed)
        world.add(weight: weights[0], milliseconds: 1...short)
        world.add(weight: weights[1], milliseconds: 20...long)
        world.run(seconds: 300)
        let got = world.models.enumerated().map { Double($1.served) / weights[$0] }
        #expect(abs(got[0] / got[1] - 1) < 0.05, "\(got), weights \(weights)")
        // Never apart by more than what a step of each can add.
        #expect(abs(got[0] - got[1]) <= Double(short) * 1e6 / weights[0] + Double(long) * 1e6 / weights[1])
        #expect(world.wasted == 0)
    }

    @Test func whoIsAloneGetsItAtOnceEveryTime() {
        let shares = Lent(capacity: 1)
        let (party, _) = (shares.join(threads: 1), shares.join(threads: 1))
        for turn in 0..<100 as Range<UInt64> {
            let now = MonotonicTime(nanoseconds: turn * 1000)
            #expect(shares.take(party, now: now))
            #expect(shares.giveBack(party, now: now.adding(nanoseconds: 700)) == 700)
            #expect(shares.next(now: now).isEmpty && shares.isFree)
        }
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func noCoreIdlesAndNobodyIsLeftOut(seed: UInt64) {
        var choice = SeededGenerator(seed: seed)
        let capacity = Int.random(in: 2...16, using: &choice)
        var world = DeviceWorld(capacity: capacity, seed: seed)
        // One that wants all of it, or more, among many that want little.
        world.add(threads: capacity + Int.random(in: 0...3, using: &choice), milliseconds: 5...50)
        for _ in 0..<Int.random(in: 2...12, using: &choice) {
            world.add(
                threads: Int.random(in: 1...max(1, capacity / 2), using: &choice),
                weight: Double.random(in: 0.5...2, using: &choice), milliseconds: 1...50)
        }
        world.run(seconds: 40)
        // What fits runs, but while those that run finish for one that was first for 100 ms and needs their cores.
        #expect(Double(world.wasted) < 0.15 * Double(world.now.nanoseconds))
        let got = world.models.map { Double($0.served) }
        // Nobody is left out: neither one that needs all cores, among many that fit into any gap, nor those behind it.
        for model in world.models { #expect(model.longestWait < 5_000_000_000, "\(model)") }
        #expect(got[0] > 0.15 * got.reduce(0, +) / Double(world.models.count))
    }

    @Test func whileAllFitNobodyWaits() {
        var world = DeviceWorld(capacity: 4, seed: 1)
        for _ in 0..<4 { world.add(milliseconds: 1...30) }
        world.run(seconds: 60)
        #expect(world.models.allSatisfy { $0.longestWait == 0 } && world.wasted == 0)
    }

    @Test func idlingEarnsNoCredit() {
        var world = DeviceWorld(capacity: 1, seed: 2)
        for _ in 0..<2 { world.add(milliseconds: 10...10) }
        world.models[1].busy = false
        world.shares.setWeight(0, of: world.models[1].party)
        let late = world.models[1].party
        world.models[1].asked = world.now  // keeps `run` from asking for it
        world.run(seconds: 10)
        world.models[1].asked = nil
        world.models[1].busy = true
        world.shares.setWeight(1, of: late)
        let before = world.models.map(\.served)
        world.run(seconds: 10)
        let got = zip(world.models, before).map { Double($0.served - $1) }
        #expect(abs(got[0] / got[1] - 1) < 0.05, "it shares from now on, and catches nothing up: \(got)")
    }

    @Test func aWorkerThatIsGoneGivesItsPartBack() {
        let shares = Lent(capacity: 2)
        let now = MonotonicTime(nanoseconds: 5)
        let (large, small) = (shares.join(threads: 8), shares.join(threads: 1))
        #expect(shares.take(large, now: now) && shares.free == 0, "it wants more than there is, and gets all")
        #expect(!shares.take(small, now: now) && shares.waiting == 1)
        shares.leave(large, now: now)
        #expect(shares.next(now: now) == [small] && shares.free == 1)
        shares.leave(small, now: now)
        #expect(shares.isFree && shares.waiting == 0)
        #expect(!shares.take(large, now: now), "nobody is lent what is not his any more")
    }

    @Test func aFirstInTurnThatDoesNotFitWaitsNoLongerThanItsPatience() {
        let shares = Lent(capacity: 2)
        var now = MonotonicTime(nanoseconds: 1_000_000)
        let (one, other, large) = (shares.join(threads: 1), shares.join(threads: 1), shares.join(threads: 2))
        #expect(shares.take(one, now: now) && shares.take(other, now: now) && !shares.take(large, now: now))
        now = now.adding(milliseconds: 10)
        _ = shares.giveBack(one, now: now)
        #expect(shares.take(one, now: now), "it fits into the gap")
        now = now.adding(milliseconds: 100)
        _ = shares.giveBack(one, now: now)
        #expect(!shares.take(one, now: now) && shares.next(now: now).isEmpty, "the gap is kept now")
        _ = shares.giveBack(other, now: now)
        #expect(shares.next(now: now) == [large])
    }

    @Test func whoHangsKeepsTheDeviceFromOthersForAWhileOnly() {
        let shares = Lent(capacity: 1)
        var now = MonotonicTime(nanoseconds: 9)
        let (hung, other) = (shares.join(threads: 1), shares.join(threads: 1))
        #expect(shares.take(hung, now: now) && shares.nextOverdue == nil)
        #expect(!shares.take(other, now: now))
        let due = now.adding(nanoseconds: DeviceShares.longest)
        #expect(shares.nextOverdue == due)
        now = MonotonicTime(nanoseconds: due.nanoseconds - 1)
        #expect(shares.next(now: now).isEmpty)
        #expect(shares.next(now: due) == [other] && shares.nextOverdue == nil)
        #expect(shares.giveBack(other, now: due) == 0 && shares.isFree && shares.holds(hung))
        #expect(
            shares.giveBack(hung, now: due) == DeviceShares.longest && shares.isFree, "it is counted, and freed once")
    }
}

@Suite struct RenewedTurns {
    /// What was computed without a break counts like what was computed in turns.
    @Test func whoHoldsOnIsChargedAllTheSame() {
        var shares = DeviceShares(capacity: 1)
        let (one, two) = (shares.join(threads: 1), shares.join(threads: 1))
        for party in [one, two] { shares.setWeight(1, of: party) }
        func at(_ milliseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: 1 + milliseconds * 1_000_000) }
        let began = shares.take(one, now: at(0))
        let first = shares.renew(one, now: at(10))
        #expect(began && first == 10_000_000 && shares.holds(one))
        let tooSoon = shares.take(two, now: at(12))
        let second = shares.giveBack(one, now: at(20))
        #expect(!tooSoon && second == 10_000_000)
        let again = shares.take(one, now: at(20))
        #expect(!again, "the other one got nothing yet")
        let next = shares.next(now: at(20))
        let without = shares.renew(one, now: at(25))
        #expect(next == [two] && without == 0, "who does not hold it can't hold on")
        let third = shares.giveBack(two, now: at(45))
        let back = shares.take(one, now: at(45))
        #expect(third == 25_000_000 && back, "20 ms against 25")
    }
}

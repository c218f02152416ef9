// Prefixes outside the engines: what is found by whom, what is pushed out, and that files tell nothing and are never trusted.
@testable import Inference
import Core
import Platform
import Synchronization
import TestSupport
import Testing

private func numbers(_ count: Int, from first: Int32 = 0) -> [Int32] { (0..<Int32(count)).map { $0 + first } }

@Suite struct PrefixSealing {
    let mine = PrefixSeal(born: .now)
    let theirs = PrefixSeal(born: .now)

    @Test func digestsAreOfWholeBlocksAndOfAllBeforeThem() {
        let tokens = numbers(200)
        let digests = mine.digests(of: tokens[...], model: "m")
        #expect(digests.count == 3 && Set(digests).count == 3)
        #expect(mine.digests(of: tokens[..<128], model: "m") == Array(digests[..<2]))
        var other = tokens
        other[70] += 1
        let changed = mine.digests(of: other[...], model: "m")
        #expect(changed[0] == digests[0] && changed[1] != digests[1] && changed[2] != digests[2])
        #expect(mine.digests(of: numbers(63)[...], model: "m").isEmpty)
    }

    @Test func anotherTenantAnotherModelAndAnotherSaltShareNone() {
        let tokens = numbers(128)
        let all = [mine, theirs].flatMap { seal in ["m", "n"].flatMap { seal.digests(of: tokens[...], model: $0) } }
        #expect(Set(all).count == 8)
        var seals = PrefixSeals(lifetimeNanoseconds: 100)
        let before = seals.seal(of: "a", now: MonotonicTime(nanoseconds: 10)).digests(of: tokens[...], model: "m")
        let later = seals.seal(of: "a", now: MonotonicTime(nanoseconds: 50)).digests(of: tokens[...], model: "m")
        #expect(later == before)
        #expect(seals.expired(now: MonotonicTime(nanoseconds: 109)).isEmpty)
        #expect(seals.expired(now: MonotonicTime(nanoseconds: 110)) == ["a"])
        seals.forget("a")
        let after = seals.seal(of: "a", now: MonotonicTime(nanoseconds: 110)).digests(of: tokens[...], model: "m")
        #expect(after != before)
    }

    @Test func whatIsSealedOpensForItsTenantUnderItsNameOnly() throws {
        let state = [UInt8]((0..<5000).map { UInt8(truncatingIfNeeded: $0) })
        let sealed = try #require(mine.seal(state, name: "1"))
        #expect(mine.open(sealed, name: "1") == state)
        #expect(mine.open(sealed, name: "2") == nil && theirs.open(sealed, name: "1") == nil)
        #expect(mine.seal(state, name: "1") != sealed, "a nonce of its own each time")
        for place in [0, 11, 12, 2000, sealed.count - 17, sealed.count - 1] {
            var damaged = sealed
            damaged[place] ^= 1
            #expect(mine.open(damaged, name: "1") == nil)
        }
        for length in [0, 1, 27, 28, 100, sealed.count - 1] {
            #expect(mine.open(Array(sealed[..<length]), name: "1") == nil)
        }
        #expect(mine.open(try #require(mine.seal([], name: "1")), name: "1") == [])
    }
}

@Suite struct Tiers {
    var tiers = PrefixTiers(limits: .init(memory: 100, disk: 100))
    let seal = PrefixSeal(born: .now)

    func digests(_ blocks: Int, from first: Int32 = 0) -> [PrefixDigest] {
        seal.digests(of: numbers(blocks * PrefixSeal.block, from: first)[...], model: "m")
    }

    @Test mutating func theLongestIsFound() {
        let first = tiers.insert(tenant: "a", digests: digests(3), bytes: 10)?.id
        #expect(tiers.find(digests(2)) == .init(id: first ?? 0, blocks: 2, inMemory: true))
        #expect(tiers.find(digests(5))?.blocks == 3)
        #expect(tiers.find(digests(2, from: 1)) == nil && tiers.find([]) == nil)
        // One that goes on from there makes it needless.
        let second = tiers.insert(tenant: "a", digests: digests(4), bytes: 20)
        #expect(second?.actions == [.release(first ?? 0)] && tiers.memoryBytes == 20 && tiers.entries.count == 1)
        #expect(tiers.covers(digests(4)) && tiers.covers(digests(1)) && !tiers.covers(digests(5)))
    }

    @Test mutating func aFloodPushesOutItsOwn() {
        let light = tiers.insert(tenant: "light", digests: digests(1), bytes: 30)?.id ?? 0
        for number in 1...20 {
            _ = tiers.insert(tenant: "flood", digests: digests(1, from: Int32(number) * 100), bytes: 30)
        }
        #expect(tiers.entries[light]?.inMemory == true && tiers.memoryBytes <= 100 && tiers.diskBytes <= 100)
        #expect(tiers.entries.count == 6)
    }

    @Test mutating func whatGoesToDiskComesBackAndNeedsNoSecondWrite() {
        let first = tiers.insert(tenant: "a", digests: digests(1), bytes: 60)?.id ?? 0
        let second = tiers.insert(tenant: "a", digests: digests(1, from: 100), bytes: 60)
        #expect(second?.actions == [.write(first), .release(first)])
        #expect(tiers.find(digests(1)) == .init(id: first, blocks: 1, inMemory: false))
        let id = second?.id ?? 0
        let back = tiers.fetched(first)
        #expect(back == [.write(id), .release(id), .delete(first)])
        let again = tiers.fetched(id)
        #expect(again == [.write(first), .release(first), .delete(id)])
        let gone = tiers.forget("a")
        #expect(gone == [.delete(first), .release(id)])
        #expect(
            tiers.entries.isEmpty && tiers.memoryBytes == 0 && tiers.diskBytes == 0 && tiers.find(digests(1)) == nil)
    }

    @Test mutating func whatIsTooLargeStaysOut() {
        let large = tiers.insert(tenant: "a", digests: digests(1), bytes: 101)
        #expect(large?.id == nil)
        var off = PrefixTiers(limits: .init(memory: 0, disk: 0))
        let refused = off.insert(tenant: "a", digests: digests(1), bytes: 1)
        #expect(refused?.id == nil)
    }

    @Test(arguments: 0..<50) func booksHoldForRandomLives(_ number: Int) {
        var random = SeededGenerator(seed: UInt64(number))
        var tiers = PrefixTiers(limits: .init(memory: 100, disk: Bool.random(using: &random) ? 200 : 0))
        var (memory, disk): (Set<UInt64>, Set<UInt64>) = ([], [])
        func perform(_ actions: [PrefixTiers.Action]) {
            for action in actions {
                switch action {
                case .write(let id):
                    #expect(memory.contains(id) && !disk.contains(id))
                    disk.insert(id)
                case .release(let id): #expect(memory.remove(id) != nil)
                case .delete(let id): #expect(disk.remove(id) != nil)
                }
            }
        }
        for _ in 0..<300 {
            let text = digests(Int.random(in: 1...4, using: &random), from: Int32.random(in: 0..<8, using: &random))
            let tenant = ["a", "b", "c"].randomElement(using: &random) ?? "a"
            switch Int.random(in: 0..<10, using: &random) {
            case 0: perform(tiers.forget(tenant))
            case 1..<4:
                guard let match = tiers.find(text) else { continue }
                #expect(match.inMemory == memory.contains(match.id) && (match.inMemory || disk.contains(match.id)))
                if !match.inMemory { memory.insert(match.id) }
                perform(tiers.fetched(match.id))
            default:
                guard
                    let (id, actions) = tiers.insert(
                        tenant: tenant, digests: text, bytes: Int.random(in: 1...60, using: &random))
                else { continue }
                memory.insert(id)
                perform(actions)
            }
            #expect(tiers.memoryBytes <= 100 && tiers.diskBytes <= tiers.limits.disk)
            #expect(Set(tiers.entries.filter(\.value.inMemory).keys) == memory)
            #expect(Set(tiers.entries.filter(\.value.onDisk).keys) == disk)
        }
    }
}

@Suite struct TransferCosts {
    @Test func aWayIsTakenWhenItIsShorterThanReading() {
        var cost = TransferCost()
        #expect(cost.paysToRestore(bytes: 23_000_000, tokens: 1000, perRead: 1e6))
        // A fast engine behind a slow way.
        for _ in 0..<50 { cost.learn(restored: 23_000_000, nanoseconds: 500_000_000) }
        #expect(!cost.paysToRestore(bytes: 23_000_000, tokens: 1000, perRead: 1e5))
        #expect(abs(cost.restore(23_000_000) - 5e8) < 1e6)
        // A small one only waited; and what is refused for long is tried again.
        cost.learn(restored: 1000, nanoseconds: 500_000_000)
        #expect(abs(cost.restore(23_000_000) - 5e8) < 1e6)
        for _ in 0..<100 { cost.relax() }
        #expect(cost.paysToRestore(bytes: 23_000_000, tokens: 1000, perRead: 1e5))
    }

    @Test func whoRunsIsNotHeldUpForLong() {
        let cost = TransferCost()
        func pays(_ bytes: Int, hits: Int, stall: Double?) -> Bool {
            cost.paysToSave(bytes: bytes, tokens: bytes / 23_000, hits: hits, perRead: 1e6, stall: stall)
        }
        #expect(pays(4_600_000, hits: 0, stall: 50e6) && !pays(46_000_000, hits: 5, stall: 50e6))
        #expect(pays(46_000_000, hits: 0, stall: nil))
        #expect(!cost.paysToSave(bytes: 4_600_000, tokens: 200, hits: 0, perRead: 2e5, stall: 50e6))
        #expect(cost.paysToSave(bytes: 4_600_000, tokens: 200, hits: 1, perRead: 2e5, stall: 50e6))
    }
}

/// The store with real files, its two loops stepped by hand.
@Suite struct PrefixStores {
    let scratch: Scratch
    let loop: EventLoop
    let disk: EventLoop
    let store: PrefixStore

    init() throws {
        scratch = try Scratch()
        (loop, disk) = (try EventLoop(index: 0), try EventLoop(index: 1))
        // Binds the loop to this thread.
        _ = loop.step()
        var options = PrefixStore.Options()
        options.memoryBytes = 1000
        options.diskBytes = 10_000
        let files = try PrefixFiles(stateDirectory: scratch.path)
        store = PrefixStore(options, loop: loop, disk: disk.remote, files: files)
    }

    func settle() {
        for _ in 0..<10 {
            _ = disk.step()
            _ = loop.step()
        }
    }

    func insert(_ first: Int32, _ tenant: String = "a") {
        store.insert(
            [UInt8](repeating: UInt8(first), count: 600), of: numbers(64, from: first), tenant: tenant, model: "m")
    }

    func find(_ first: Int32, _ tenant: String = "a") -> StoredPrefix? {
        store.find(store.digests(of: numbers(64, from: first)[...], tenant: tenant, model: "m"))
    }

    func fetch(_ id: UInt64) -> Bool? {
        var came: Bool?
        store.fetch(id) { came = $0 }
        settle()
        return came
    }

    @Test func aStateComesBackFromDiskForItsTenant() throws {
        insert(1)
        insert(2)
        settle()
        let found = try #require(find(1))
        #expect(!found.inMemory && find(2)?.inMemory == true && find(1, "b") == nil)
        #expect(fetch(found.id) == true && store.use(found.id) == [UInt8](repeating: 1, count: 600))
    }

    @Test func aDamagedFileIsAMiss() throws {
        insert(1)
        insert(2)
        settle()
        let found = try #require(find(1))
        let file = "prefixes/\(found.id)"
        var bytes = try scratch.read(file)
        bytes[100] ^= 1
        try scratch.write(file, bytes)
        #expect(fetch(found.id) == false && find(1) == nil && find(2) != nil)
    }

    @Test func whatIsForgottenIsGoneFromMemoryDiskAndEngines() throws {
        var dropped: [String] = []
        store.watch(loop) { dropped.append($0) }
        insert(1)
        insert(2)
        insert(3, "b")
        settle()
        store.forget("a")
        settle()
        #expect(find(1) == nil && find(2) == nil && find(3, "b") != nil && dropped == ["a"])
        #expect(try shell("ls '\(scratch.path)/prefixes'") == "")
    }

    @Test func aNewHostFindsNothing() throws {
        insert(1)
        insert(2)
        settle()
        #expect(try shell("ls '\(scratch.path)/prefixes'") != "")
        _ = try PrefixFiles(stateDirectory: scratch.path)
        #expect(try shell("ls '\(scratch.path)/prefixes'") == "")
    }
}

// Turns of tenants: many texts of one don't keep another's waiting, and tokens are what is shared.
@testable import Inference
import TestSupport
import Testing

private func id(_ value: UInt64) -> GenerationID { GenerationID(value) }

@Test func aNewcomerIsNext() {
    var turns = TenantTurns()
    turns.add(id(1), tenant: "many")
    for _ in 0..<50 {
        #expect(turns.next() == id(1))
        turns.charge(id(1), tokens: 512, weight: 1)
    }
    turns.add(id(2), tenant: "one")
    #expect(turns.next() == id(2))
    turns.charge(id(2), tokens: 8, weight: 1)
    turns.remove(id(2))
    #expect(turns.next() == id(1))
}

@Test func aTenantsOwnRequestsKeepTheirOrder() {
    var turns = TenantTurns()
    for number in 1...3 { turns.add(id(UInt64(number)), tenant: "a") }
    for number in 1...3 {
        #expect(turns.next() == id(UInt64(number)))
        turns.charge(id(UInt64(number)), tokens: 5, weight: 1)
        #expect(turns.next() == id(UInt64(number)))
        turns.remove(id(UInt64(number)))
    }
    #expect(turns.isEmpty && turns.next() == nil)
}

@Test func aTenantOfTwiceTheWeightGetsTwiceTheTokens() {
    var turns = TenantTurns()
    turns.add(id(1), tenant: "one")
    turns.add(id(2), tenant: "two")
    var served: [GenerationID: Int] = [:]
    for _ in 0..<3000 {
        guard let next = turns.next() else { return #expect(Bool(false), "somebody waits") }
        turns.charge(next, tokens: 10, weight: next == id(2) ? 2 : 1)
        served[next, default: 0] += 10
    }
    #expect(abs(served[id(2), default: 0] - 2 * served[id(1), default: 0]) <= 30)
}

@Test func leavingAndComingBackEarnsNothing() {
    var turns = TenantTurns()
    turns.add(id(1), tenant: "steady")
    var long = 0
    var steady = 0
    // One tenant sends a text of 100 tokens as soon as the last one is done, the other has texts of 10.
    var number: UInt64 = 2
    turns.add(id(number), tenant: "again")
    for _ in 0..<1100 {
        let next = turns.next()
        if next == id(1) {
            turns.charge(id(1), tokens: 10, weight: 1)
            steady += 10
        } else {
            turns.charge(id(number), tokens: 100, weight: 1)
            long += 100
            turns.remove(id(number))
            number += 1
            turns.add(id(number), tenant: "again")
        }
    }
    #expect(abs(long - steady) <= 100)
}

@Test func backloggedTenantsGetTheSameTokensWhateverTheirTexts() {
    var generator = SeededGenerator(seed: 11)
    var turns = TenantTurns()
    let lengths = [8, 64, 512, 3]
    var served = [0, 0, 0, 0]
    for tenant in 0..<4 { turns.add(id(UInt64(tenant)), tenant: "t\(tenant)") }
    for _ in 0..<20_000 {
        guard let next = turns.next() else { return #expect(Bool(false), "somebody waits") }
        let tenant = Int(next.value)
        let tokens = Int.random(in: 1...lengths[tenant], using: &generator)
        turns.charge(next, tokens: tokens, weight: 1)
        served[tenant] += tokens
        #expect(served.max()! - served.min()! <= 512)
    }
}

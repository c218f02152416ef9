// The table behind descriptors and timers: places are used again, keys are not.
import Testing

@testable import Platform

@Suite struct SlotTableTests {
    @Test func aLateKeyFindsNothing() {
        var table = SlotTable<String>()
        let first = table.insert("first")
        #expect(first != 0 && table[first] == "first" && table.remove(first) == "first")
        let second = table.insert("second")
        #expect(second != first && table[first] == nil && !table.contains(first) && table.remove(first) == nil)
        #expect(table[second] == "second" && table.count == 1)
        #expect(table[0] == nil && table[.max] == nil)
    }

    @Test func placesAreUsedAgain() {
        var table = SlotTable<Int>()
        let kept = (0..<3).map { table.insert($0) }
        var seen = Set(kept)
        for round in 0..<1000 {
            let key = table.insert(round)
            #expect(seen.insert(key).inserted && key & 0xff_ffff == 3)
            #expect(table.remove(key) == round)
        }
        #expect(kept.map { table[$0] } == [0, 1, 2] && table.count == 3)
    }
}

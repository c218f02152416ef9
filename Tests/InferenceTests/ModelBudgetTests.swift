// Who may be in memory: never more than there is, never a busy one sent away, nobody passed over.
import Core
@testable import Inference
import Platform
import TestSupport
import Testing

private func id(_ number: Int) -> ReplicaID { ReplicaID(UInt64(number)) }
private func at(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: 0).adding(milliseconds: milliseconds)
}
private func mb(_ number: UInt64) -> ModelBudget.Need { ModelBudget.Need(memory: number << 20) }
private func budget(_ mebibytes: UInt64?) -> ModelBudget {
    ModelBudget(limits: ModelBudget.Limits(memory: mebibytes.map { $0 << 20 }))
}

@Suite struct ModelBudgetTests {
    @Test func withoutABudgetEverybodyLoads() {
        var node = budget(nil)
        for number in 0..<100 { #expect(node.want(id(number), mb(1 << 20)) == [.grant(id(number))]) }
    }

    @Test func theIdleOneUsedLongestAgoGoesAndLoadingBeginsWhenItIsGone() {
        var node = budget(200)
        for number in 1...2 { #expect(node.want(id(number), mb(100)) == [.grant(id(number))]) }
        #expect(node.idle(id(2), now: at(1)) == [])
        #expect(node.idle(id(1), now: at(2)) == [])
        #expect(node.want(id(3), mb(100)) == [.evict(id(2))])
        #expect(node.held.memory == 200 << 20, "its process is still there")
        #expect(node.waiting == 1, "its process is still there")
        // Nobody else is sent away for the same need.
        #expect(node.idle(id(1), now: at(3)) == [])
        #expect(node.gone(id(2)) == [.grant(id(3))])
        #expect(node.held.memory == 200 << 20)
        #expect(node.waiting == 0)
    }

    @Test func aBusyOneIsNeverEvictedButAsSoonAsItRests() {
        var node = budget(100)
        _ = node.want(id(1), mb(100))
        #expect(node.want(id(2), mb(60)) == [])
        #expect(node.want(id(3), mb(40)) == [])
        #expect(node.idle(id(1), now: at(5)) == [.evict(id(1))])
        #expect(node.gone(id(1)) == [.grant(id(2)), .grant(id(3))])
    }

    @Test func nobodyIsEvictedInVain() {
        var node = budget(200)
        _ = node.want(id(1), mb(100))
        _ = node.want(id(2), mb(100))
        _ = node.idle(id(1), now: at(1))
        // Both would have to go, and one is busy.
        #expect(node.want(id(3), mb(150)) == [])
        #expect(node.idle(id(2), now: at(2)) == [.evict(id(1)), .evict(id(2))])
        #expect(node.gone(id(2)) == [])
        #expect(node.gone(id(1)) == [.grant(id(3))])
    }

    @Test func aLargeOneIsNotPassedOverByThoseBehindIt() {
        var node = budget(200)
        _ = node.want(id(1), mb(150))
        #expect(node.want(id(2), mb(150)) == [])
        #expect(node.want(id(3), mb(40)) == [], "it would fit, and the one before it waits for that memory")
        #expect(node.giveUp(id(2)) == [.grant(id(3))])
    }

    @Test func eachDeviceHasABudgetOfItsOwn() {
        var node = ModelBudget(limits: ModelBudget.Limits(memory: nil, deviceMemory: 100))
        func on(_ gpu: Int, _ bytes: UInt64) -> ModelBudget.Need {
            ModelBudget.Need(memory: 1, device: .gpu(gpu), deviceMemory: bytes)
        }
        #expect(node.want(id(1), on(0, 80)) == [.grant(id(1))])
        #expect(node.want(id(2), on(1, 80)) == [.grant(id(2))])
        #expect(node.idle(id(2), now: at(1)) == [])
        #expect(node.want(id(3), on(0, 30)) == [], "what is idle on another device does not help")
        #expect(node.want(id(4), on(1, 20)) == [.grant(id(4))], "nor is its device waited for")
        #expect(node.idle(id(1), now: at(2)) == [.evict(id(1))])
        #expect(node.impossible(on(0, 101))?.contains("gpu:0") == true)
        #expect(node.impossible(on(0, 100)) == nil)
    }

    @Test func whatNeverFitsIsSaidAtOnce() {
        let cause = budget(100).impossible(mb(101))
        #expect(cause?.contains("101 MiB") == true && cause?.contains("--models-memory-mb") == true)
    }

    @Test func aSpareReplicaTakesWhatNobodyWants() {
        var node = budget(200)
        _ = node.want(id(1), mb(100))
        _ = node.idle(id(1), now: at(1))
        #expect(node.wantSpare(id(2), mb(100)) == true)
        #expect(node.wantSpare(id(3), mb(100)) == false, "it displaces nobody")
        #expect(node.waiting == 0)
    }

    /// Over any order of events: never over the budget, never a busy one evicted, and everybody served in the end.
    @Test func randomNodesKeepTheirBudget() {
        for seed in 0..<300 {
            var generator = SeededGenerator(seed: UInt64(seed))
            var node = budget(1000)
            var loaded: [ReplicaID: Bool] = [:]
            var waiting: Set<ReplicaID> = []
            var ending: [ReplicaID] = []
            var now: UInt64 = 0
            var next = 0
            func take(_ decisions: [ModelBudget.Decision]) {
                for decision in decisions {
                    switch decision {
                    case .grant(let id):
                        #expect(waiting.remove(id) != nil, "seed \(seed)")
                        loaded[id] = true
                    case .evict(let id):
                        #expect(loaded[id] == false && !ending.contains(id), "seed \(seed): evicted while busy")
                        ending.append(id)
                    }
                }
                #expect(node.held.memory <= 1000 << 20, "seed \(seed)")
            }
            func end(_ id: ReplicaID) {
                ending.removeAll { $0 == id }
                loaded[id] = nil
                take(node.gone(id))
            }
            for _ in 0..<300 {
                now += 1
                switch Int.random(in: 0..<6, using: &generator) {
                case 0:
                    waiting.insert(id(next))
                    take(node.want(id(next), mb(UInt64.random(in: 1...600, using: &generator))))
                    next += 1
                case 1, 2:
                    if let id = loaded.filter({ $0.value }).keys.min() {
                        loaded[id] = false
                        take(node.idle(id, now: at(now)))
                    }
                case 3:
                    if let id = loaded.filter({ !$0.value && !ending.contains($0.key) }).keys.min() {
                        loaded[id] = true
                        node.busy(id)
                    }
                case 4: if let id = ending.first { end(id) }
                default:
                    if let id = waiting.max(), Bool.random(using: &generator) {
                        waiting.remove(id)
                        take(node.giveUp(id))
                    }
                }
            }
            while !waiting.isEmpty {
                for id in loaded.filter({ $0.value }).keys.sorted() {
                    loaded[id] = false
                    take(node.idle(id, now: at(now)))
                }
                guard let id = ending.first else { break }
                end(id)
            }
            #expect(waiting.isEmpty, "seed \(seed): somebody waits for ever")
        }
    }
}

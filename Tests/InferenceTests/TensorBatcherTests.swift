// Joining requests on tensors: nothing is lost, turns are kept, and neither size nor delay is exceeded.
@testable import Inference
import Platform
import TestSupport
import Testing

private func time(_ microseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: microseconds * 1000) }

private func entry(_ id: UInt64, _ tenant: String, rows: Int = 1, key: Int64? = 3, at: UInt64 = 0, bytes: Int = 4)
    -> TensorBatcher.Entry
{
    TensorBatcher.Entry(
        id: GenerationID(id), tenant: tenant, rows: rows, bytes: bytes, key: key.map { [[$0]] }, arrived: time(at))
}

private func ids(_ numbers: UInt64...) -> TensorBatcher.Decision { .run(numbers.map(GenerationID.init)) }

@Suite struct TensorBatcherTests {
    private func batcher(rows: Int = 4, delay: UInt64 = 100) -> TensorBatcher {
        TensorBatcher(TensorBatching(maxRows: rows, maxDelayMicroseconds: delay))
    }

    @Test func aRequestWaitsForOthersAndNoLongerThanTheDelay() {
        var batcher = batcher()
        #expect(batcher.next(now: time(0)) == .idle)
        batcher.add(entry(1, "a", at: 10))
        #expect(batcher.next(now: time(20)) == .wait(until: time(110)))
        batcher.add(entry(2, "b", at: 50))
        #expect(batcher.next(now: time(60)) == .wait(until: time(110)))
        #expect(batcher.next(now: time(110)) == ids(1, 2))
        #expect(batcher.next(now: time(110)) == .idle)
    }

    @Test func aFullBatchWaitsForNobody() {
        var batcher = batcher(rows: 4)
        batcher.add(entry(1, "a", rows: 2))
        batcher.add(entry(2, "b", rows: 2))
        batcher.add(entry(3, "c"))
        #expect(batcher.next(now: time(1)) == ids(1, 2))
    }

    @Test func whatCannotBeJoinedRunsAloneAndAtOnce() {
        var batcher = batcher()
        batcher.add(entry(1, "a", rows: 99, key: nil))
        batcher.add(entry(2, "b"))
        #expect(batcher.next(now: time(0)) == ids(1))
    }

    @Test func otherShapesDoNotMixAndHoldOnlyTheirTenantBack() {
        var batcher = batcher(rows: 8, delay: 0)
        batcher.add(entry(1, "a", key: 3))
        batcher.add(entry(2, "a", key: 5))
        batcher.add(entry(3, "a", key: 3))
        batcher.add(entry(4, "b", key: 3))
        // 3 may not overtake 2 of the same tenant.
        #expect(batcher.next(now: time(0)) == ids(1, 4))
        #expect(batcher.next(now: time(0)) == ids(2))
        #expect(batcher.next(now: time(0)) == ids(3))
    }

    @Test func tenantsTakeTurnsHoweverMuchOneSends() {
        var batcher = batcher(rows: 1, delay: 0)
        for id in 0..<6 { batcher.add(entry(UInt64(id), "flood", key: nil)) }
        batcher.add(entry(10, "calm", key: nil))
        batcher.add(entry(20, "other", key: nil))
        #expect(batcher.next(now: time(0)) == ids(0))
        #expect(batcher.next(now: time(0)) == ids(10))
        #expect(batcher.next(now: time(0)) == ids(20))
        #expect(batcher.next(now: time(0)) == ids(1))
    }

    @Test func aBatchIsSharedEvenly() {
        var batcher = batcher(rows: 4, delay: 0)
        for id in 0..<6 { batcher.add(entry(UInt64(id), "flood")) }
        batcher.add(entry(10, "calm"))
        batcher.add(entry(11, "calm"))
        #expect(batcher.next(now: time(0)) == ids(0, 10, 1, 11))
    }

    @Test func bytesAreBoundedLikeRows() {
        var batcher = batcher(rows: 8, delay: 0)
        batcher.add(entry(1, "a", bytes: TensorBatcher.maxBytes))
        batcher.add(entry(2, "b"))
        #expect(batcher.next(now: time(0)) == ids(1))
        #expect(batcher.next(now: time(0)) == ids(2))
    }

    @Test func aRequestThatLeftIsNotRun() {
        var batcher = batcher(delay: 0)
        batcher.add(entry(1, "a"))
        batcher.add(entry(2, "a"))
        let removed = [batcher.remove(GenerationID(1)), batcher.remove(GenerationID(1))]
        #expect(removed == [true, false])
        #expect(batcher.next(now: time(0)) == ids(2))
    }

    /// Random arrivals, departures and runs; the promises are checked after each.
    @Test(arguments: 0..<40) func promisesHoldForRandomTraffic(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let maxRows = Int.random(in: 1...6, using: &random)
        let delay = UInt64.random(in: 0...300, using: &random)
        var batcher = batcher(rows: maxRows, delay: delay)
        var waiting: [UInt64: TensorBatcher.Entry] = [:]
        var lastOf: [String: UInt64] = [:]
        var now: UInt64 = 0
        var next: UInt64 = 1
        var runs = 0
        for _ in 0..<400 {
            now += UInt64.random(in: 0...120, using: &random)
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let tenant = ["a", "b", "c"].randomElement(using: &random) ?? "a"
                let rows = Int.random(in: 1...maxRows, using: &random)
                let added = entry(
                    next, tenant, rows: rows, key: [nil, 3, 3, 3, 5].randomElement(using: &random) ?? 3, at: now)
                batcher.add(added)
                waiting[next] = added
                next += 1
            }
            if let gone = waiting.keys.sorted().randomElement(using: &random), Bool.random(using: &random),
                seed % 2 == 0
            {
                let removed = batcher.remove(GenerationID(gone))
                #expect(removed)
                waiting[gone] = nil
            }
            switch batcher.next(now: time(now)) {
            case .idle: #expect(waiting.isEmpty)
            case .wait(let until):
                let oldest = waiting.values.map(\.arrived.nanoseconds).min() ?? 0
                #expect(until > time(now) && until.nanoseconds <= oldest + delay * 1000)
            case .run(let batch):
                runs += 1
                let entries = batch.compactMap { waiting.removeValue(forKey: $0.value) }
                #expect(entries.count == batch.count && !batch.isEmpty, "each runs once")
                #expect(batch.count == 1 || entries.reduce(0) { $0 + $1.rows } <= maxRows)
                #expect(batch.count == 1 || entries.allSatisfy { $0.key != nil && $0.key == entries[0].key })
                for entry in entries {
                    #expect(lastOf[entry.tenant, default: 0] < entry.id.value, "in the order of their tenant")
                    lastOf[entry.tenant] = entry.id.value
                }
            }
        }
        while case .run(let batch) = batcher.next(now: .distantFuture) {
            for id in batch { waiting[id.value] = nil }
        }
        #expect(waiting.isEmpty && runs > 0)
    }
}
